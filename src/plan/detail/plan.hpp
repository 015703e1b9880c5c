#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lamina/plan/plan.hpp"
#include "plan/detail/fuse.hpp"
#include "plan/detail/layout.hpp"
#include "plan/detail/mesh.hpp"

namespace lamina::plan {

/// One graph of the run and the program it becomes.
struct Part {
  std::string program;  ///< forward_backward, eval, prefill, decode
  graph::Graph graph;   ///< fused
  Layouts layouts;
  std::vector<FusedPattern> fused;
  std::vector<std::string> layers;  ///< paths in the order of the forward, before fusion moved work between layers
};

/// Gradients that are reduced together, in the order in which the last micro-batch completes them.
struct Bucket {
  std::vector<int> gradients;  ///< value ids of the train graph
  std::int64_t bytes = 0;      ///< local, without padding
  int complete = -1;           ///< node of the train graph after which all of them are final
};

struct Plan {
  config::RunConfig config;
  Machine machine;
  Purpose purpose = Purpose::train;
  Mesh mesh;
  std::int64_t micro_batches = 1;
  std::vector<Part> parts;
  std::vector<Bucket> buckets;
  /// The distinct programs: of the ranks that own gradients in the norm, and of those that do not.
  std::vector<std::shared_ptr<program::Template const>> shapes;

  Part const* find_part(std::string_view program) const;
  TensorSpec local_spec(Part const& part, int value) const;
  int shape_of(int rank) const;  ///< index into `shapes`
  program::Binding binding(int rank) const;
};

/// What a group keeps outside the arenas for what its reductions receive, the same on every rank. "world": all ranks,
/// who agree between the programs.
struct GroupScratch {
  std::string group;
  int ranks = 0;
  std::int64_t bytes = 0;
};
std::vector<GroupScratch> communication_scratch(Plan const& plan);
std::int64_t communication_scratch_bytes(Plan const& plan);

/// Buckets of at most `bytes`, or of a single gradient; see Bucket.
std::vector<Bucket> make_buckets(Plan const& plan, Part const& train, std::int64_t bytes);

/// One rank's programs with all offsets. `owns`: its square_norm sees the replicated gradients; else it adds zero.
program::Template lower_shape(Plan const& plan, bool owns);

}  // namespace lamina::plan
