#pragma once

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
Fused fuse(graph::Graph const& graph);

}  // namespace lamina::plan
