#include "lamina/graph/ops/elementwise.hpp"

#include <utility>

#include "graph/detail/check.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {

using detail::Inputs;

std::vector<TensorSpec> Add::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"a", "b"});
  x.dtype(0, {DType::f32, DType::f64});
  in[0].dtype == DType::f64 ? x.dtype(1, {DType::f64}) : x.dtype(1, detail::real_types);
  x.shape(1, in[0].shape, "the shape of a");
  return {in[0]};
}

void Add::differentiate(GradBuilder& g) const {
  int const dy = g.grad(0);
  g.contribute(0, dy);
  g.contribute(1, dy);
}

Cost Add::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

Cast::Cast(DType dtype) : dtype_(dtype) {
  detail::require_attribute(kind(), dtype == DType::f32 || dtype == DType::bf16, "dtype", static_cast<int>(dtype),
                            "f32 or bf16");
}

std::vector<TensorSpec> Cast::infer(std::span<TensorSpec const> in) const {
  Inputs(kind(), in, {"x"}).dtype(0, {DType::f32, DType::bf16, DType::f64});
  return {{dtype_, in[0].shape}};
}

void Cast::differentiate(GradBuilder& g) const { g.contribute(0, g.cast(g.grad(0), g.in_spec(0).dtype)); }

Cost Cast::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::vector<TensorSpec> SelectToken::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"x", "last"});
  x.dtype(0, detail::real_types).ndim_at_least(0, 2).dtype(1, {DType::i32}).shape(1, {1}, "one index");
  Shape y{in[0].shape[0]};
  for (int d = 2; d < in[0].shape.ndim(); ++d) y.push_back(in[0].shape[d]);
  return {{in[0].dtype, y}};
}

Cost SelectToken::cost(std::span<TensorSpec const> in) const {
  return {.flops = 0, .bytes = 2 * infer(in)[0].bytes() + in[1].bytes()};  // reads one row per sequence
}

Slice::Slice(Attrs attrs) : attrs_(std::move(attrs)) {
  detail::require_attribute(kind(), attrs_.dim >= 0 && attrs_.dim < Shape::max_dims, "split_dim", attrs_.dim,
                            "a dim of the tensor");
  detail::require_attribute(kind(), attrs_.parts >= 1, "parts", attrs_.parts, "at least 1");
}

Attributes Slice::attributes() const { return {{"split_axis", attrs_.axis}, {"split_dim", std::int64_t{attrs_.dim}}}; }

std::vector<TensorSpec> Slice::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"x"});
  x.ndim_at_least(0, attrs_.dim + 1);
  auto y = in[0];
  if (y.shape[attrs_.dim] % attrs_.parts != 0) {
    x.fail_shape(0, text("an extent of dim ", attrs_.dim, " that ", attrs_.parts, " ranks divide"));
  }
  y.shape[attrs_.dim] /= attrs_.parts;
  return {y};
}

Cost Slice::cost(std::span<TensorSpec const> in) const { return {.flops = 0, .bytes = 2 * infer(in)[0].bytes()}; }

}  // namespace lamina::graph
