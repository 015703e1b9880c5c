#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/data/source.hpp"
#include "lamina/train/session.hpp"

namespace lamina::train {

/// One row of the table "where the time of a step goes".
struct KernelRow {
  std::string op;
  std::int64_t calls = 0;         ///< per step
  double seconds = 0, share = 0;  ///< per step; of the step
  double gflops_per_s = 0, gbytes_per_s = 0;
};

struct StepBench {
  std::vector<double> times;   ///< seconds of each timed step, slowest rank
  std::vector<double> losses;  ///< of all steps, warm-up included
  double step_s = 0;           ///< median of times
  double tokens_per_s = 0, mfu = 0, peak_gflops = 0, stream_gbytes_per_s = 0, exposed_comm_s = 0;
  std::int64_t planned_peak_bytes = 0;   ///< of this rank
  std::int64_t measured_peak_bytes = 0;  ///< resident high-water mark of rank 0
  std::int64_t arena_growth_bytes =
      0;                           ///< of that, what came after the arenas were made: the plan and the libraries' own
  std::vector<KernelRow> kernels;  ///< of rank 0, most expensive first; measured in steps of their own
};

struct CommBench {
  double step_s = 0;            ///< median of the steps, forward and backward with update, slowest rank
  double without_s = 0;         ///< the same programs with communication left out
  double exposed_s = 0;         ///< median of a step minus the one without beside it, so that a slow minute is in both
  double alone_s = 0;           ///< ... with kernels left out
  double link_speed = 0;        ///< bytes per second a rank was held to; 0: none
  std::int64_t sent_bytes = 0;  ///< by all ranks in a step
  /// 1 - exposed / alone: 1 is communication that costs nothing, 0 as much as by itself.
  double hidden() const { return sent_bytes > 0 ? 1 - exposed_s / alone_s : 1; }
};

struct CommBenchOptions {
  int rounds = 5;         ///< at least 1
  double link_speed = 0;  ///< bytes per second that a rank is held to in a group; 0: none
  /// Not empty: DIR/trace/step-00000001.json shows one more step, ...2 one without communication, ...3 communication
  /// alone.
  std::string trace_dir;
};

/// What communication costs inside a step: rounds of whole steps, steps without communication and communication alone,
/// interleaved. They begin with the data and parameters of one real step, the learning rate being 0; what a step
/// without communication computes has no meaning, and later ones may go on from it. Collective.
CommBench bench_comm(Session& session, data::Source const& source, CommBenchOptions const& options);

/// Times `steps` optimizer steps after `warmup` of them, then profiles two more. Collective.
/// The limits (multiply-add peak, streaming bandwidth) are measured in the same run, between the steps.
StepBench bench_step(Session& session, data::Source const& source, int steps, int warmup);

}  // namespace lamina::train
