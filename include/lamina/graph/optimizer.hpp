#pragma once

#include <string>

#include "lamina/graph/graph.hpp"

namespace lamina::graph {

struct OptimizerSpec {
  std::string kind = "adamw";        ///< adamw | sgd
  double beta1 = 0.9, beta2 = 0.95;  ///< adamw
  double eps = 1e-8;                 ///< adamw
  double weight_decay = 0.1;         ///< of parameters with `Value::decay`; 0 for the others
  double momentum = 0.9;             ///< sgd
};

/// Adds to every parameter that has a gradient its moments (states named like the parameter, role moment1 and, for
/// adamw, moment2) and one node of phase update, in the order of the parameters and in the layer that first uses the
/// parameter. All read the input `hyper` f64[4] = {lr, step from 1, gradient scale, 1 to skip the update}.
/// @throws Error "graph.optimizer.kind"; "graph.optimizer.gradients" before `differentiate`.
void append_optimizer(Graph& graph, OptimizerSpec const& spec);

}  // namespace lamina::graph
