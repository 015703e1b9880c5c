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
  bool is_partial() const { return split == Split::partial_sum || split == Split::partial_max; }
};

/// One entry per mesh axis.
struct Layout {
  std::vector<AxisLayout> axes;
  friend bool operator==(Layout const&, Layout const&) = default;
};

/// A value in another layout than its producer left it in; made by one collective or one cut.
struct Form {
  int value = -1;
  Layout layout;
  int from = -1;             ///< form it is made of; -1: the value as produced
  std::size_t axis = 0;      ///< along which it differs from that
  bool at_producer = false;  ///< partial ones, once after the producer; the others where they are used
  bool in_place = false;     ///< in the buffer of what it is made of, which nobody else reads
};

/// What a step's attributes say about the cut of its node; src/plan/README.md.
struct Cut {
  int axis = -1;             ///< split_axis; -1: none
  int dim = -1;              ///< split_dim
  std::vector<int> holders;  ///< axes of `holder`
};

struct Layouts {
  std::vector<Layout> values;  ///< by value id; states: as their writers leave them
  std::vector<Form> forms;
  std::vector<std::vector<int>> operands;  ///< node, input -> form; -1: as produced
  std::vector<int> outputs;                ///< value id -> form that the host reads; -1: as produced
  std::vector<Cut> cuts;                   ///< by node

  AxisLayout const& at(int value, int form, std::size_t axis) const {
    return (form < 0 ? values[static_cast<std::size_t>(value)] : forms[static_cast<std::size_t>(form)].layout)
        .axes[axis];
  }
  /// Axes over which each rank holds only a term of this gradient.
  std::vector<std::size_t> partial_axes(int gradient) const;
};

/// Fixes the layout of every value. A node is cut along at most one letter of its rule per axis: that of its parameters
/// and of the gradients it accumulates, which lie as the policy says; else that of an activation; else the tokens
/// (Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022). Over tp all other
/// operands are converted to what the letter asks for, each form made once and shared; over other axes nothing is.
/// @throws Error "plan.layout.*" naming node, tensor, both layouts and the way out.
Layouts propagate(graph::Graph const& graph, Mesh const& mesh, Policy const& policy);

/// Shape of a rank's part. A vocabulary that does not divide is padded at the end. @throws Error
/// "plan.shard.divisibility" with the sizes that fit.
Shape local_shape(graph::Value const& value, Layout const& layout, Mesh const& mesh);

/// "dp=shard(0) tp=replicate"; axes of one rank are left out; "replicate" when nothing is left.
std::string to_text(Layout const& layout, Mesh const& mesh);
std::string to_text(AxisLayout const& layout);

}  // namespace lamina::plan
