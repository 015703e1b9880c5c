#pragma once

#include "lamina/graph/graph.hpp"

namespace lamina::plan {

/// Every `head_loss_grad` leaves the gradient of the logits to a `linear_grad_weight` of its own, so that a schedule
/// with backward_weight actions can put a third of the head's work where a stage would wait (Qi et al., "Zero bubble
/// pipeline parallelism", 2023). Not where that gradient, [rows, vocabulary] and kept from one action to the other,
/// takes more than 256 MiB a micro-batch: as much as the head's scratch at most.
///
/// @param ranks  that share the rows (replicas) and the vocabulary of the graph.
graph::Graph split_head(graph::Graph const& graph, std::int64_t ranks);

}  // namespace lamina::plan
