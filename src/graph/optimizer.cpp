#include "lamina/graph/optimizer.hpp"

#include <memory>

#include "lamina/base/error.hpp"
#include "lamina/graph/ops/update.hpp"

namespace lamina::graph {
namespace {

/// Value id -> layer of its first user.
std::vector<std::string> first_layers(Graph const& graph) {
  std::vector<std::string> layers(graph.values().size());
  std::vector<bool> seen(graph.values().size(), false);
  for (auto const& n : graph.nodes()) {
    for (int const i : n.in) {
      if (seen[static_cast<std::size_t>(i)]) continue;
      seen[static_cast<std::size_t>(i)] = true, layers[static_cast<std::size_t>(i)] = n.layer;
    }
  }
  return layers;
}

void append_update(Graph& graph, OptimizerSpec const& spec, int parameter, int hyper, std::string const& layer) {
  auto const p = graph.value(parameter);  // a copy: the values move
  double const decay = p.decay ? spec.weight_decay : 0;
  int const g = graph.gradient_of(parameter);
  int const m = graph.add_state(p.name, p.spec, p.dims, Role::moment1, parameter);
  if (spec.kind == "sgd") {
    auto op = std::make_shared<Sgd>(Sgd::Attrs{.momentum = spec.momentum, .weight_decay = decay});
    graph.add_node(std::move(op), {g, parameter, m, hyper}, layer, Phase::update);
    return;
  }
  int const v = graph.add_state(p.name, p.spec, p.dims, Role::moment2, parameter);
  AdamW::Attrs const attrs{.beta1 = spec.beta1, .beta2 = spec.beta2, .eps = spec.eps, .weight_decay = decay};
  graph.add_node(std::make_shared<AdamW>(attrs), {g, parameter, m, v, hyper}, layer, Phase::update);
}

}  // namespace

void append_optimizer(Graph& graph, OptimizerSpec const& spec) {
  if (spec.kind != "adamw" && spec.kind != "sgd") {
    fail({.code = "graph.optimizer.kind",
          .subject = "append_optimizer",
          .found = spec.kind,
          .expected = "adamw or sgd",
          .fix = "correct [optimizer] kind"});
  }
  auto const layers = first_layers(graph);
  int hyper = -1;
  for (int const p : graph.parameters()) {
    if (graph.gradient_of(p) < 0) continue;
    if (hyper < 0) hyper = graph.add_input("hyper", {DType::f64, {4}}, {""});
    append_update(graph, spec, p, hyper, layers[static_cast<std::size_t>(p)]);
  }
  if (hyper >= 0) return;
  fail({.code = "graph.optimizer.gradients",
        .subject = "append_optimizer",
        .found = "no parameter has a gradient",
        .expected = "a graph that was differentiated",
        .fix = "call differentiate first, and check that the loss depends on the parameters"});
}

}  // namespace lamina::graph
