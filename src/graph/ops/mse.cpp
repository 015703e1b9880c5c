#include "lamina/graph/ops/mse.hpp"

#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {
namespace {

void require_samples(std::string_view kind, std::span<TensorSpec const> in) {
  detail::Inputs const x(kind, in, {"x", "y", "counted"});
  x.dtype(0, {DType::f32}).ndim_at_least(0, 1);
  x.dtype(1, {DType::f32}).shape(1, in[0].shape, "the shape of x");
  x.dtype(2, {DType::i32}).shape(2, {in[0].shape[0]}, "one per sample of x");
}

}  // namespace

std::vector<TensorSpec> Mse::infer(std::span<TensorSpec const> in) const {
  require_samples(kind(), in);
  return {{DType::f64, {2}}};
}

void Mse::differentiate(GradBuilder& g) const {
  if (g.needs(0)) g.contribute(0, g.apply(std::make_shared<MseGrad>(), {g.in(0), g.in(1), g.in(2)})[0]);
}

Cost Mse::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::vector<TensorSpec> MseGrad::infer(std::span<TensorSpec const> in) const {
  require_samples(kind(), in);
  return {in[0]};
}

Cost MseGrad::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

}  // namespace lamina::graph
