#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/graph/graph.hpp"

namespace lamina::plan {

struct Recomputation {
  std::string mode = "none";        ///< none | selective | full
  std::vector<std::string> layers;  ///< selectors, as memory.recompute_layers
  /// Stage of a layer, where a block may be cut over stages: what is in another stage is not recomputed. Empty: one.
  std::function<int(std::string const& layer)> stage = {};
};

struct Recomputed {
  graph::Graph graph;
  int nodes = 0;           ///< made for recomputation
  std::int64_t flops = 0;  ///< of these, per micro-batch
};

/// Rewrites a differentiated graph (fused or not) so that the backward computes again what it would have to keep.
/// A block is a layer path up to its first number ("blocks.3"), or a whole path without one; a model none of whose
/// paths has a number is one block a stage, which the default "blocks.*" selects.
/// - full: of a selected block the backward keeps what enters it from outside; all else that it reads is computed
///   again from that, directly before it is needed first (Chen et al., "Training deep nets with sublinear memory cost",
///   2016).
/// - selective: results of products and attention are kept; norms, activations, casts, dropout and sums are computed
///   again where all they need is kept anyway (Korthikanti et al., 2022, choose by the same measure: bytes per flop).
/// New nodes are of the backward phase, directly before the first node that reads them, in the layer of the original;
/// random numbers are those of the original, for they are a function of op and element. Nodes that accumulate or
/// overwrite are never repeated, nor is what nothing in the backward reads.
/// The values of parameters, gradients and outputs are unchanged, up to rounding where a fused kernel is repeated as
/// its parts.
/// @throws Error "plan.layers.unknown" for a selector that selects nothing.
Recomputed recompute(graph::Graph const& graph, Recomputation const& wanted);

}  // namespace lamina::plan
