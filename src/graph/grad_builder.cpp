#include "lamina/graph/grad_builder.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"

namespace lamina::graph {
namespace {

bool is_real(DType t) { return t == DType::f32 || t == DType::bf16; }

}  // namespace

GradBuilder::GradBuilder(Graph& graph, int loss) : graph_(graph), loss_(loss) {
  depends_.assign(graph.values().size(), false);
  pending_.assign(graph.values().size(), -1);
  implied_.assign(graph.values().size(), false);
  for (auto const& v : graph.values()) depends_[static_cast<std::size_t>(v.id)] = v.role == Role::parameter;
  for (auto const& n : graph.nodes()) {
    bool const any =
        std::any_of(n.in.begin(), n.in.end(), [&](int i) { return depends_[static_cast<std::size_t>(i)]; });
    for (int const o : n.out) depends_[static_cast<std::size_t>(o)] = any && is_real(graph.value(o).spec.dtype);
  }
}

int GradBuilder::grad(int o) {
  int const value = out(o);
  int const sum = pending_[static_cast<std::size_t>(value)];
  return sum < 0 ? -1 : cast(sum, graph_.value(value).spec.dtype);
}

bool GradBuilder::needs(int i) const { return depends_[static_cast<std::size_t>(in(i))]; }

std::vector<int> GradBuilder::apply(OpPtr op, std::vector<int> in, std::vector<int> const& targets) {
  auto const layer = node().layer;
  return graph_.add_node(std::move(op), std::move(in), layer, Phase::backward, targets);
}

void GradBuilder::contribute(int i, int grad) {
  if (!needs(i)) return;
  auto const& value = graph_.value(in(i));
  if (value.role == Role::parameter) {
    fail({.code = "graph.differentiate.parameter",
          .subject = text(node().layer, ": ", node().op->kind()),
          .found = text("an activation gradient for the parameter ", value.name),
          .expected = "an op with an accumulating output for the gradient of a parameter",
          .fix = "use the parameter in an op of the catalogue that takes one there (linear, layer_norm, embedding)"});
  }
  auto& sum = pending_[static_cast<std::size_t>(value.id)];
  if (sum < 0) {
    sum = grad;
  } else {  // f32 sums: the first operand of `add` decides the dtype of the result
    int const wide = cast(sum, DType::f32);
    sum = apply(std::make_shared<Add>(), {wide, grad})[0];
  }
}

int GradBuilder::take(int i) {
  if (!needs(i)) return -1;
  auto& sum = pending_[static_cast<std::size_t>(in(i))];
  if (sum < 0 || graph_.value(sum).spec.dtype != DType::f32) return -1;
  return std::exchange(sum, -1);
}

int GradBuilder::target(int i) {
  auto const value = graph_.value(in(i));  // a copy: add_state may move the values
  if (value.role != Role::parameter) {
    fail({.code = "graph.differentiate.target",
          .subject = text(node().layer, ": ", node().op->kind(), ", input ", i),
          .found = text(value.name, ", role ", value.role),
          .expected = "a parameter, whose gradient is accumulated over the micro-batches of a step",
          .fix = "pass a parameter of the model there, not something computed from one"});
  }
  int const found = graph_.gradient_of(value.id);
  if (found >= 0) return found;
  return graph_.add_state(value.name, {DType::f32, value.spec.shape}, value.dims, Role::gradient, value.id);
}

int GradBuilder::cast(int value, DType dtype) {
  if (graph_.value(value).spec.dtype == dtype) return value;
  auto const [at, inserted] = casts_.try_emplace({value, dtype}, -1);
  if (inserted) at->second = apply(std::make_shared<Cast>(dtype), {value})[0];
  return at->second;
}

bool GradBuilder::is_asked() const {
  auto const& n = node();
  return std::any_of(n.out.begin(), n.out.end(), [&](int o) {
    auto const value = static_cast<std::size_t>(o);
    return pending_[value] >= 0 || implied_[value] || graph_.value(o).accumulates_into == loss_;
  });
}

void GradBuilder::run() {
  for (int n = static_cast<int>(graph_.nodes().size()) - 1; n >= 0; --n) {
    node_ = n;
    if (graph_.node(n).phase != Phase::forward || !is_asked()) continue;
    auto const op = graph_.node(n).op;  // keeps it alive; the node itself may move
    op->differentiate(*this);
  }
}

void differentiate(Graph& graph, int loss) {
  auto const& nodes = graph.nodes();
  bool const made =
      loss >= 0 && loss < static_cast<int>(graph.values().size()) &&
      std::any_of(nodes.begin(), nodes.end(), [&](Node const& n) {
        return std::any_of(n.out.begin(), n.out.end(), [&](int o) { return graph.value(o).accumulates_into == loss; });
      });
  if (!made) {
    fail({.code = "graph.differentiate.loss",
          .subject = "differentiate",
          .found = text("value ", loss, ", into which no node accumulates"),
          .expected = "the state that a loss op (loss_sum) accumulates into",
          .fix = "add the loss to the graph before differentiating it"});
  }
  GradBuilder(graph, loss).run();
}

}  // namespace lamina::graph
