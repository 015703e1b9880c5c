#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/comm/communicator.hpp"
#include "lamina/program/program.hpp"

namespace lamina::runtime {

/// Time spent in the steps of one kind since the last `take_profile`.
struct ProfileRow {
  std::string op;
  std::int64_t calls = 0, flops = 0, bytes = 0;
  double seconds = 0;
};

struct ExecutorOptions {
  /// Run the plain reference kernels in place of the fast ones: for checks of gradients and of kernels. Needs a plan
  /// without packed weights.
  bool reference_kernels = false;
};

/// For measurements of what communication costs: steps that are left out leave their results as they were before,
/// integers zero.
struct Trial {
  bool kernels = true, communication = true;
  /// Bytes per second, > 0: what a rank sends in a group takes at least that long, asleep.
  double link_speed = 0;
};

/// What a rank is doing, for whoever watches it.
struct Position {
  std::string program;        ///< "" before the first run
  int step = -1;              ///< of the compute stream; -1 between runs
  bool waiting = false;       ///< the step waits for communication
  std::uint64_t changes = 0;  ///< grows with every step: two equal readings a while apart mean that nothing moved
};

/// When a step was executed, in nanoseconds of the steady clock.
struct TracedStep {
  program::Program const* program = nullptr;
  int step = -1;
  std::int64_t waited_ns = 0;  ///< a kernel: of waiting for communication before it
  /// A kernel: when it was called and when it returned. Otherwise: from when the step's turn came on its stream, and
  /// what it waits for was there, until it had finished.
  std::int64_t start_ns = 0, end_ns = 0;
};

/// Executes one rank's programs: allocates the arenas, binds every step to a kernel or a communication task once; then
/// only runs. Everything on the calling thread, which must be the one that initialised Kokkos; communication on the
/// service thread.
class Executor {
 public:
  /// Collective when the set has groups. @throws Error "runtime.bind.<rule>" naming the step.
  Executor(program::ProgramSet set, comm::Communicator world, ExecutorOptions options = {});
  ~Executor();

  /// Runs a program and joins all its streams. Allocates nothing after its first run.
  /// @throws what a kernel or a communication threw, with program, step, op, layer, micro-batch and rank in front of
  /// its subject. Communication that is still in flight is then given up: the executor can only be destroyed.
  void run(std::string_view program);
  bool has_program(std::string_view program) const;

  /// Memory of a persistent buffer. @throws Error "runtime.buffer.unknown".
  TensorRef buffer(std::string_view name, Role role) const;
  program::ProgramSet const& set() const;

  void enable_profile(bool on);
  std::vector<ProfileRow> take_profile();
  /// While it is on, every run notes when its steps were executed, where there has been room since they were bound:
  /// nothing is allocated. Off, it costs a look at a flag per kernel.
  void enable_trace(bool on);
  /// The last run of every program that has run since it was switched on, in the order of the list; empty when off.
  std::vector<TracedStep> traced_steps() const;
  /// Of all runs from now on; the same on every rank.
  void set_trial(Trial const& trial);
  /// Seconds the compute thread waited for communication in the last run of a program.
  double exposed_communication_seconds() const;
  /// Any thread, at any time.
  Position position() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lamina::runtime
