#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/comm/communicator.hpp"
#include "lamina/runtime/executor.hpp"

/// Chrome's trace event format, which chrome://tracing and ui.perfetto.dev show: a process per rank, a thread per
/// stream, an event per executed step, an arrow from every send to its receive.
namespace lamina::train {

/// One executed step, in nanoseconds of rank 0's clock.
struct TraceEvent {
  int stream = 0;       ///< index into RankTrace::streams
  std::string name;     ///< layer and op
  std::string kind;     ///< kernel, copy, send, all_reduce, ...
  std::string program;  ///< that the step belongs to
  int step = 0, micro_batch = -1, stage = 0;
  std::int64_t bytes = 0, flops = 0, waited_ns = 0, start_ns = 0, end_ns = 0;
  std::string message;  ///< of a send or receive: what the other end calls it too; else ""
};

struct RankTrace {
  int rank = 0;
  std::string name;  ///< "rank 3: pp 1, dp 0, tp 1, host a"
  std::vector<std::string> streams;
  std::vector<TraceEvent> events;
};

/// The last run of every program of the executor, since its trace was switched on.
/// @param ahead_ns  of this rank's clock before rank 0's.
RankTrace trace_of(runtime::Executor const& executor, std::string const& host, std::int64_t ahead_ns);

/// The events of a rank as items of a JSON list, separated by commas; times are microseconds since `origin_ns`.
std::string chrome_events(RankTrace const& trace, std::int64_t origin_ns);
/// The document. @param uncertainty_ns  of a rank's clock.
std::string chrome_document(std::vector<std::string> const& ranks, std::int64_t step, std::int64_t uncertainty_ns);

/// Compares the clocks, gathers what every rank's executor has traced, and writes RUN_DIR/trace/step-<8 digits>.json
/// from rank 0. A file that cannot be written is a warning: the run goes on. Collective.
void write_trace(runtime::Executor const& executor, comm::Communicator const& world, std::string const& host,
                 std::string const& run_dir, std::int64_t step);

}  // namespace lamina::train
