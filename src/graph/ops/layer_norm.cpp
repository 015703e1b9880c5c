#include "lamina/graph/ops/layer_norm.hpp"

#include <algorithm>
#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {

using detail::Inputs;

namespace {

void require_norm(std::string_view kind, LayerNorm::Attrs const& attrs) {
  detail::require_attribute(kind, attrs.eps > 0, "eps", attrs.eps, "more than 0: it keeps a constant row finite");
  detail::require_attribute(kind, attrs.dtype == DType::f32 || attrs.dtype == DType::bf16, "dtype",
                            static_cast<int>(attrs.dtype), "f32 or bf16");
}

Attributes norm_attributes(LayerNorm::Attrs const& attrs) {
  return {{"eps", attrs.eps}, {"dtype", std::string(name_of(attrs.dtype))}};
}

void require_vector(Inputs const& in, int i, std::int64_t model) {
  in.dtype(i, {DType::f32}).shape(i, {model}, "the last dim of the normalised tensor");
}

}  // namespace

LayerNorm::LayerNorm(Attrs attrs) : attrs_(attrs) { require_norm(kind(), attrs); }

Attributes LayerNorm::attributes() const { return norm_attributes(attrs_); }

std::vector<TensorSpec> LayerNorm::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"x", "scale", "shift"});
  x.dtype(0, {DType::f32}).ndim_at_least(0, 2);
  require_vector(x, 1, in[0].shape.back());
  require_vector(x, 2, in[0].shape.back());
  TensorSpec const row{DType::f32, detail::without_last(in[0].shape)};
  return {{attrs_.dtype, in[0].shape}, row, row};
}

void LayerNorm::differentiate(GradBuilder& g) const {
  int const residual = g.take(0);
  std::vector<int> in{g.grad(0), g.in(0), g.in(1), g.out(1), g.out(2)};
  if (residual >= 0) in.push_back(residual);
  std::vector<int> const targets{-1, g.target(1), g.target(2)};
  auto const op = std::make_shared<LayerNormGrad>(LayerNormGrad::Attrs{.residual = residual >= 0});
  g.contribute(0, g.apply(op, in, targets)[0]);
}

Cost LayerNorm::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

AddLayerNorm::AddLayerNorm(LayerNorm::Attrs attrs) : attrs_(attrs) { require_norm(kind(), attrs); }

Attributes AddLayerNorm::attributes() const { return norm_attributes(attrs_); }

std::vector<TensorSpec> AddLayerNorm::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"a", "b", "scale", "shift"});
  x.dtype(0, {DType::f32}).ndim_at_least(0, 2);
  x.dtype(1, detail::real_types).shape(1, in[0].shape, "the shape of a");
  require_vector(x, 2, in[0].shape.back());
  require_vector(x, 3, in[0].shape.back());
  TensorSpec const row{DType::f32, detail::without_last(in[0].shape)};
  return {in[0], {attrs_.dtype, in[0].shape}, row, row};
}

Cost AddLayerNorm::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::vector<TensorSpec> LayerNormGrad::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"dy", "x", "scale", "mean", "rstd", attrs_.residual ? "residual" : ""});
  x.dtype(0, detail::real_types).ndim_at_least(0, 2);
  x.dtype(1, {DType::f32}).shape(1, in[0].shape, "the shape of dy");
  require_vector(x, 2, in[0].shape.back());
  auto const rows = detail::without_last(in[0].shape);
  for (int const i : {3, 4}) x.dtype(i, {DType::f32}).shape(i, rows, "the leading dims of dy");
  if (attrs_.residual) x.dtype(5, {DType::f32}).shape(5, in[0].shape, "the shape of dy");
  return {in[1], in[2], in[2]};
}

ShardRule LayerNormGrad::shard_rule() const {
  return {attrs_.residual ? "*d!,*d,d,*,*,*d -> *d,+d,+d" : "*d!,*d,d,*,* -> *d,+d,+d"};
}

Cost LayerNormGrad::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::int64_t LayerNormGrad::scratch_bytes(std::span<TensorSpec const> in, int) const {
  return 8 * in[0].shape.back() * std::min<std::int64_t>(64, (in[3].count() + 15) / 16);
}

}  // namespace lamina::graph
