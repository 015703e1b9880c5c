#include "lamina/graph/ops/activation.hpp"

#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {

using detail::Inputs;

std::vector<TensorSpec> Activation::infer(std::span<TensorSpec const> in) const {
  Inputs(kind(), in, {"z"}).dtype(0, detail::real_types);
  return {in[0]};
}

void Activation::differentiate(GradBuilder& g) const {
  if (g.needs(0)) g.contribute(0, g.apply(std::make_shared<ActivationGrad>(f_), {g.grad(0), g.in(0)})[0]);
}

Cost Activation::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::vector<TensorSpec> ActivationGrad::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"dy", "z"});
  x.dtype(0, detail::real_types).dtype(1, {in[0].dtype}).shape(1, in[0].shape, "the shape of dy");
  return {in[0]};
}

Cost ActivationGrad::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

}  // namespace lamina::graph
