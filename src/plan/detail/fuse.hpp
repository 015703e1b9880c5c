#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lamina/graph/graph.hpp"

namespace lamina::plan {

struct FusedPattern {
  std::string pattern;  ///< "linear + gelu -> linear_gelu"
  int times = 0;
};

struct Fused {
  graph::Graph graph;
  std::vector<FusedPattern> patterns;  ///< all of the list, in its order; times may be 0
};

/// Replaces what the list of patterns (top of fuse.cpp) names by single ops of the catalogue. The values of the result
/// keep names, roles and attributes of parameters, inputs and states; values inside of a pattern are gone.
/// @param vocab_split  the vocabulary is cut over ranks: patterns that need all logits of a row are left alone.
/// @param allowed  of the nodes that would become one: false keeps them apart (stages, cuts).
Fused fuse(graph::Graph const& graph, bool vocab_split = false,
           std::function<bool(std::vector<int> const& nodes)> const& allowed = {});

}  // namespace lamina::plan
