#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lamina/comm/communicator.hpp"
#include "lamina/device/stream.hpp"
#include "lamina/program/program.hpp"
#include "operands.hpp"

namespace lamina::runtime::detail {

/// What binding needs to know; everything is alive as long as the bound programs.
struct Memory {
  program::ProgramSet const& set;
  std::vector<void*> const& arenas;  ///< per space
  TensorRef ref(int buffer) const;
};

struct Streams {
  device::Stream* compute;
  std::vector<device::Stream*> groups;  ///< per group of the template
  device::Stream* copy;
  device::Stream* of(program::Stream const& stream) const;
};

/// A point in another stream: the number of tasks that stream must have finished. `count` is set when the step it
/// belongs to has been enqueued, in every run before it is read.
struct Token {
  device::Stream* stream = nullptr;
  std::uint64_t count = 0;
};

/// Holds a stream up until another one has come to a token; for ever when that one has failed, so that nothing is sent
/// that was not computed (the executor sees the failure and cancels).
class WaitTask final : public device::Task {
 public:
  explicit WaitTask(Token const& token) : token_(&token) {}
  void start() override { count_ = token_->count; }
  bool advance() override { return token_->stream->finished() >= count_ && !token_->stream->failed(); }

 private:
  Token const* token_;
  std::uint64_t count_ = 0;
};

using Clock = std::chrono::steady_clock;

/// A task that measures how long another one takes.
class TimedTask final : public device::Task {
 public:
  explicit TimedTask(std::unique_ptr<device::Task> task) : task_(std::move(task)) {}
  void start() override;
  bool advance() override;
  std::uint64_t progress() const override { return task_->progress(); }
  Clock::time_point next_look() const override { return begun_ && !over_ ? task_->next_look() : started_ + least_; }
  /// Nanoseconds since the last call. Any thread.
  std::int64_t take_ns() { return ns_.exchange(0, std::memory_order_relaxed); }
  /// It takes at least that long: before it starts, so that a receiver waits as well, or before it ends. Between runs.
  void pace(Clock::duration least, bool first) { least_ = least, first_ = first; }
  /// Of its last use, once its stream counts it as finished.
  Clock::time_point started() const { return started_; }
  Clock::time_point ended() const { return ended_; }

 private:
  std::unique_ptr<device::Task> task_;
  bool is_early() const { return least_ > Clock::duration::zero() && Clock::now() < started_ + least_; }

  Clock::time_point started_, ended_;
  Clock::duration least_{};
  bool first_ = false, begun_ = false, over_ = false;
  std::atomic<std::int64_t> ns_{0};
};

/// A step, ready to run.
struct Action {
  Kernel kernel;                                 ///< compute: what to call
  device::Stream* stream = nullptr;              ///< otherwise: where the tasks go
  std::vector<std::unique_ptr<WaitTask>> waits;  ///< enqueued before them
  std::vector<std::unique_ptr<TimedTask>> tasks;
  std::vector<int> after;          ///< compute: steps on other streams to wait for
  int profile = -1;                ///< row of the profile
  std::int64_t calls = 0, ns = 0;  ///< since the last `take_profile`
  /// Compute: when the wait for others, the kernel and its end were, in the last run that was timed.
  Clock::time_point waited, started, ended;
};

/// A program with everything looked up. Steps keep their ids.
struct BoundProgram {
  program::Program const* program = nullptr;
  std::vector<Action> actions;
  std::vector<int> order;                ///< in which the steps are issued: `issue_order`
  std::vector<Token> tokens;             ///< per step; only steps off the compute stream use theirs
  std::vector<device::Stream*> streams;  ///< that the program uses, without compute
};

/// "program forward_backward, step 12 linear blocks.0.attn, micro-batch 1, rank 0".
std::string describe(program::ProgramSet const& set, program::Program const& program, int step);

/// The steps of a program in the order in which the calling thread gets to them: those of the compute stream as listed;
/// every other one directly behind the last step of the compute stream that it, or a step that it follows, waits for.
/// So what is ready never sits behind a kernel that still waits, which is what the verifier plays.
std::vector<int> issue_order(program::Program const& program);

/// @throws Error "runtime.bind.<rule>" naming the step.
BoundProgram bind_program(program::Program const& program, Memory const& memory, Streams const& streams,
                          std::vector<comm::Communicator> const& groups, bool reference_kernels);

/// The tasks of a step that is no kernel: communication, copy.
std::vector<std::unique_ptr<device::Task>> make_tasks(program::Step const& step, Memory const& memory,
                                                      comm::Communicator const* group, std::string const& where);

}  // namespace lamina::runtime::detail
