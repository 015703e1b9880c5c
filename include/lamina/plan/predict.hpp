#pragma once

#include <cstdint>
#include <string>

#include "lamina/plan/plan.hpp"

namespace lamina::plan {

/// What a prediction assumes of every rank and of the links between them. Whole numbers, so that every machine predicts
/// the same; GFLOP/s and GB/s are flops and bytes per nanosecond.
struct MachineModel {
  std::int64_t flops_per_ns = 50;      ///< of a rank
  std::int64_t bytes_per_ns = 10;      ///< between the kernels of a rank and its memory
  std::int64_t kernel_ns = 3'000;      ///< to start a kernel on all threads
  std::int64_t message_ns = 20'000;    ///< of a message, however short
  std::int64_t link_bytes_per_ns = 5;  ///< that leave a rank
};

/// A plain CPU rank with the plan's threads: 50 GFLOP/s a thread in f32 and 100 in bf16, 10 GB/s a thread; links within
/// a node. Where the machine is known, take figures of `lamina bench` instead.
MachineModel assumed_machine(Plan const& plan);
std::string to_text(MachineModel const& machine);

/// A training step as the model of the machine has it.
struct Prediction {
  std::int64_t step_ns = 0;    ///< passes, agreement and update, until the last rank is done
  std::int64_t passes_ns = 0;  ///< forward_backward alone
  std::int64_t naive_ns = 0;   ///< step of one such rank that does all the work, with the same batch.micro
  double bubble = 0;           ///< part of the passes in which a rank waits for another stage, mean over the stages
  double exposed = 0;          ///< part of the step in which a rank waits for collectives, mean over the stages
};

/// Plays one step of the programs of one replica, the one with the most micro-batches, a rank of each pp coordinate.
/// - A kernel takes kernel_ns and the longer of flops / flops_per_ns and bytes / bytes_per_ns (the roofline: Williams,
///   Waterman and Patterson, 2009).
/// - A message takes message_ns and bytes / link_bytes_per_ns from when both sides are there; a collective as many
///   rounds of messages as `comm` makes of it, from when all are there.
/// - Streams go on beside each other at full speed, steps wait for what they say they wait for: communication that the
///   plan overlaps with computation costs nothing. Noise, contention and the host's work between steps are left out.
/// Deterministic. @throws Error "plan.verify.stuck" when the programs do not match.
Prediction predict(Plan const& plan, MachineModel const& machine);

}  // namespace lamina::plan
