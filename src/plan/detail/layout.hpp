#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/graph/graph.hpp"
#include "plan/detail/mesh.hpp"
#include "plan/detail/policy.hpp"

namespace lamina::plan {

/// How a tensor lies over one mesh axis: whole on every rank, cut along a dim, or a sum (maximum) of which every rank
/// holds one term.
enum class Split : std::uint8_t { replicate, shard, partial_sum, partial_max };

struct AxisLayout {
  Split split = Split::replicate;
  int dim = -1;  ///< of shard
  friend bool operator==(AxisLayout const&, AxisLayout const&) = default;
};

/// One entry per mesh axis.
struct Layout {
  std::vector<AxisLayout> axes;
  friend bool operator==(Layout const&, Layout const&) = default;
};

/// A collective that turns a partial tensor into a replicated one after its last writer.
struct Conversion {
  int value = -1;
  int axis = -1;
  AxisLayout from, to;
};

struct Layouts {
  std::vector<Layout> values;           ///< by value id; states: as their writers leave them
  std::vector<Conversion> conversions;  ///< gradients that are partial, in order of value id
};

/// Fixes the layout of every value: inputs, parameters and states by the policy of their dims, the outputs of a node by
/// the shard rule of its op. @throws Error "plan.layout.*" naming node, tensor, both layouts and the way out.
Layouts propagate(graph::Graph const& graph, Mesh const& mesh, Purpose purpose);

/// Shape of a rank's part. @throws Error "plan.shard.divisibility" with the sizes that fit.
Shape local_shape(graph::Value const& value, Layout const& layout, Mesh const& mesh);

/// "dp=shard(0) tp=replicate"; axes of one rank are left out; "replicate" when nothing is left.
std::string to_text(Layout const& layout, Mesh const& mesh);
std::string to_text(AxisLayout const& layout);

}  // namespace lamina::plan
