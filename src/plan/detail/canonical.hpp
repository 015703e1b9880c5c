#pragma once

#include <cstdint>

#include "lamina/graph/graph.hpp"
#include "lamina/graph/ops/exact.hpp"

namespace lamina::plan {

/// What decides the fixed points of a canonical run: the run alone decides the fractions; the layout only how large a
/// rank's term may be, which changes no bit.
struct CanonicalSizes {
  std::int64_t targets = 1;                                     ///< of a step
  std::int64_t vocab = 1;                                       ///< most words of a head
  std::int64_t terms_of_activation = 1, terms_of_gradient = 1;  ///< sums of ranks (and micro-batches) that are added
};

struct CanonicalSums {
  graph::ExactSums activation, gradient;  ///< gradient: of an activation
  graph::ExactSums parameter_gradient, exponentials, loss;
};
CanonicalSums canonical_sums(CanonicalSizes const& sizes);

/// Rewrites a graph (after differentiation, before the optimizer and before layouts) so that its results do not depend
/// on where it is cut: sums over letters that a mesh axis may split become exact ones in f64, followed by a `cast` to
/// what they were; gradients of parameters are f64; the sum of a softmax is taken after the maximum of all.
graph::Graph canonical(graph::Graph const& graph, CanonicalSums const& sums);

struct Plan;
/// The same with the fixed points of a run. @throws Error "plan.canonical.<ranks|parameters>" for more than the fixed
/// points have room for.
graph::Graph canonical(Plan const& plan, graph::Graph const& graph);

}  // namespace lamina::plan
