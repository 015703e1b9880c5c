#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"
#include "lamina/graph/graph.hpp"
#include "lamina/program/program.hpp"

namespace lamina::plan {

/// What the plan knows of the machine; probed and gathered at start, given in tests.
struct Machine {
  int threads = 1;                ///< per rank
  std::int64_t memory_bytes = 0;  ///< per rank; 0: unknown, no limit
  bool packs_weights = true;      ///< the library wants re-packed weights (oneDNN is there)
};

/// Which programs the set has beside what they need: train: forward_backward, control, update, refresh, eval.
enum class Purpose : std::uint8_t { train, eval, generate };

/// The graphs of one run, all over the same parameters; those that the purpose does not need are empty.
struct Graphs {
  graph::Graph train, eval, prefill, decode;
};

struct Plan;  // opaque here: mesh, layouts, fused graphs, buckets

/// Plans a resolved run for a world. Deterministic: same arguments, same plan, on every machine.
/// @throws Error "plan.<thing>.<rule>"; "plan.memory.limit" when the peak exceeds the limit (exit 5), with the
/// biggest consumers and what would help.
std::shared_ptr<Plan const> make(Graphs const& graphs, config::RunConfig const& config, std::int64_t world,
                                 Machine const& machine, Purpose purpose);

/// The program set of one rank. Ranks of one kind share the template object.
program::ProgramSet lower(Plan const& plan, int rank);
std::vector<program::ProgramSet> lower_all(Plan const& plan);

/// Stable text for people.
std::string to_text(Plan const& plan);  ///< --print plan
/// Tables of `to_text`, cells as text; the first row names the columns.
using Table = std::vector<std::vector<std::string>>;
Table layer_table(Plan const& plan);  ///< one row per layer, of the first graph
Table group_table(Plan const& plan);  ///< every group with the ranks of all its instances
/// What pipeline.file would hold for the order of the busiest replica, also with one stage.
std::string schedule_text(Plan const& plan);
std::string memory_text(Plan const& plan, int rank);  ///< --print memory: per program, space and role
std::int64_t rank_bytes(Plan const& plan, int rank);  ///< of one rank, like peak_bytes
std::int64_t peak_bytes(Plan const& plan);            ///< of the fullest rank: all spaces, communication scratch
std::uint64_t hash(Plan const& plan);                 ///< of all ranks' programs

/// The rank's loss sums (outputs `loss`, `eval_loss`) are terms of the sum over all ranks: it computes them and is the
/// lowest of those that compute the same. The others' are not to be added.
bool counts_loss(Plan const& plan, int rank);

/// A rank's place among those that hold the same part of a parameter or moment.
struct Copies {
  std::string over = {};  ///< the axes (and pp coordinates) they differ in: equal for all of them
  int index = 0, count = 1;
  friend auto operator<=>(Copies const&, Copies const&) = default;
};
Copies copies_of(Plan const& plan, int rank, program::Buffer const& buffer);

/// Samples and micro-batches of a rank's replica in a step.
struct ReplicaWork {
  std::int64_t first_sample = 0, samples = 0, micro_batches = 1;
};
ReplicaWork replica_work(Plan const& plan, int rank);

/// The first step at which two ranks disagree, in words; "" when the whole set is sound (program::verify).
std::string mismatch(std::vector<program::ProgramSet> const& programs);

}  // namespace lamina::plan
