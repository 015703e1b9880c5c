#include "lamina/graph/ops/dropout.hpp"

#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {

using detail::Inputs;

Dropout::Dropout(Attrs attrs) : attrs_(attrs) {
  detail::require_attribute(kind(), attrs.p >= 0 && attrs.p < 1, "p", attrs.p, "a probability in [0, 1)");
}

Attributes Dropout::attributes() const { return {{"p", attrs_.p}, {"operation", std::int64_t{attrs_.operation}}}; }

std::vector<TensorSpec> Dropout::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"x", "rng"});
  x.dtype(0, detail::real_types).ndim_at_least(0, 1).dtype(1, {DType::i64}).shape(1, {3}, "{seed, step, first sample}");
  return {in[0]};
}

void Dropout::differentiate(GradBuilder& g) const {
  if (g.needs(0)) g.contribute(0, g.apply(std::make_shared<Dropout>(attrs_), {g.grad(0), g.in(1)})[0]);
}

Cost Dropout::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

}  // namespace lamina::graph
