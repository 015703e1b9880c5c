#include "lamina/graph/ops/cross_entropy.hpp"

#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {
namespace {

TensorSpec sums() { return {DType::f64, {2}}; }

void require_rows(std::string_view kind, std::span<TensorSpec const> in) {
  detail::Inputs const x(kind, in, {"x", "targets"});
  x.dtype(0, {DType::f32}).ndim_at_least(0, 1);
  x.dtype(1, {DType::i32}).shape(1, detail::without_last(in[0].shape), "one target per row of x");
}

}  // namespace

std::vector<TensorSpec> CrossEntropy::infer(std::span<TensorSpec const> in) const {
  require_rows(kind(), in);
  return {sums()};
}

void CrossEntropy::differentiate(GradBuilder& g) const {
  if (g.needs(0)) g.contribute(0, g.apply(std::make_shared<CrossEntropyGrad>(), {g.in(0), g.in(1)})[0]);
}

Cost CrossEntropy::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::vector<TensorSpec> CrossEntropyGrad::infer(std::span<TensorSpec const> in) const {
  require_rows(kind(), in);
  return {in[0]};
}

Cost CrossEntropyGrad::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::vector<TensorSpec> Accuracy::infer(std::span<TensorSpec const> in) const {
  require_rows(kind(), in);
  return {sums()};
}

Cost Accuracy::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

}  // namespace lamina::graph
