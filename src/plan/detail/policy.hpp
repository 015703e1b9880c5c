#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lamina/graph/graph.hpp"
#include "lamina/plan/plan.hpp"
#include "plan/detail/mesh.hpp"

namespace lamina::plan {

/// What decides the cut of a tensor: the names of its dims and the run file.
struct Policy {
  Purpose purpose = Purpose::train;
  bool sequence_parallel = false;
  /// Overrides of parallel.split, expanded: full layer path -> "out", "in" or "none".
  std::vector<std::pair<std::string, std::string>> split;

  /// The mesh axis that splits a dim of this logical name; "" when none does. The whole policy is one table.
  std::string_view axis_of(std::string_view dim) const;
  /// Dim of an input, parameter, state or cache that is cut over the axis, or -1.
  int cut_dim(graph::Graph const& graph, graph::Value const& value, std::string_view axis) const;
};

/// The policy of a run. Sequence parallelism needs tokens that mesh.tp divides; where it does not, tokens stay whole.
/// @throws Error "plan.layers.unknown" or "plan.split.no_weight" for a selector of parallel.split that selects no
/// layer, or none with a matrix or another parameter that is cut over tp.
Policy make_policy(config::RunConfig const& config, Purpose purpose, Mesh const& mesh, graph::Graph const& graph);

/// f32 weights are re-packed for these uses when the machine packs weights at all. Each costs one more copy of the
/// weights; bf16 working copies exist in any case.
inline constexpr bool pack_f32_forward = true;
inline constexpr bool pack_f32_backward = true;

}  // namespace lamina::plan
