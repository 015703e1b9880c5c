#include "lamina/graph/ops/linear.hpp"

#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/grad_builder.hpp"
#include "lamina/tensor/packed.hpp"

namespace lamina::graph {

using detail::Inputs;

namespace {

void require_linear(std::string_view kind, LinearAttrs const& a) {
  detail::require_attribute(kind, a.rows_dims >= 1 && a.rows_dims <= 4, "rows_dims", a.rows_dims, "1 to 4");
  detail::require_attribute(kind, a.contract >= 1 && a.contract <= 4, "contract", a.contract, "1 to 4");
  detail::require_attribute(kind, a.dtype == DType::f32 || a.dtype == DType::bf16, "dtype", static_cast<int>(a.dtype),
                            "f32 or bf16");
}

Attributes linear_attributes(LinearAttrs const& a) {
  return {{"contract", std::int64_t{a.contract}}, {"rows_dims", std::int64_t{a.rows_dims}}};
}

/// The letters of the rows and of K; N is '*', because its number of dims is the weight's affair.
std::string rows_letters(LinearAttrs const& a) { return std::string("btrs").substr(0, a.rows_dims); }
std::string k_letters(LinearAttrs const& a) { return std::string("klmn").substr(0, a.contract); }

/// Checks x, w and bias; the shape of y.
Shape infer_product(std::string_view kind, LinearAttrs const& a, std::span<TensorSpec const> in) {
  Inputs const x(kind, in, {"x", "w", a.bias ? "bias" : ""});
  x.dtype(0, detail::real_types).ndim(0, a.rows_dims + a.contract);
  x.dtype(1, detail::real_types).ndim_at_least(1, a.contract + 1);
  auto const& w = in[1].shape;
  auto const k = detail::slice(in[0].shape, a.rows_dims, in[0].shape.ndim());
  if (!(detail::slice(w, w.ndim() - a.contract, w.ndim()) == k)) {
    x.fail_shape(1, text("[N dims..., ", join(k.extents()), "], K as in x ", in[0]));
  }
  auto const n = detail::without_last(w, a.contract);
  if (a.bias) x.dtype(2, {DType::f32}).shape(2, n, "the output features of w");
  return detail::concat(detail::slice(in[0].shape, 0, a.rows_dims), n);
}

}  // namespace

Cost WeightProduct::cost(std::span<TensorSpec const> in) const {
  return detail::cost_of(*this, in, 2 * in[0].shape.count(0, attrs_.rows_dims) * in[1].count());
}

std::int64_t WeightProduct::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  auto const library = detail::library_bytes(threads);
  auto const& w = in[1];
  if (w.dtype == DType::u8) return library;
  int const n_dims = w.shape.ndim() - attrs_.contract;
  return library + packed_weight_bytes(w.shape.count(0, n_dims), w.shape.count(n_dims, w.shape.ndim()), in[0].dtype);
}

Linear::Linear(LinearAttrs attrs) : WeightProduct(attrs) { require_linear(kind(), attrs); }

Attributes Linear::attributes() const {
  return linear_attributes(attrs())
      .set("bias", std::int64_t{attrs().bias})
      .set("dtype", std::string(name_of(attrs().dtype)));
}

std::vector<TensorSpec> Linear::infer(std::span<TensorSpec const> in) const {
  return {{attrs().dtype, infer_product(kind(), attrs(), in)}};
}

void Linear::differentiate(GradBuilder& g) const {
  auto const compute = g.in_spec(0).dtype;
  int const dy = g.cast(g.grad(0), compute);
  if (g.needs(1) || (attrs().bias && g.needs(2))) {
    std::vector<int> targets{g.target(1)};
    if (attrs().bias) targets.push_back(g.target(2));
    g.apply(std::make_shared<LinearGradWeight>(attrs()), {dy, g.in(0)}, targets);
  }
  if (!g.needs(0)) return;
  auto like = attrs();
  like.dtype = compute;
  g.contribute(0, g.apply(std::make_shared<LinearGradInput>(like), {dy, g.in(1)})[0]);
}

ShardRule Linear::shard_rule() const {
  auto const rows = rows_letters(attrs()), k = k_letters(attrs());
  return {text(rows, k, ",*", k, attrs().bias ? ",+* -> " : " -> ", rows, '*')};
}

LinearGelu::LinearGelu(LinearAttrs attrs, std::string activation)
    : WeightProduct(attrs), activation_(std::move(activation)) {
  require_linear(kind(), attrs);
  if (activation_ == "gelu" || activation_ == "relu") return;
  fail({.code = "graph.linear_gelu.activation",
        .subject = "linear_gelu: attribute 'activation'",
        .found = activation_,
        .expected = "gelu or relu",
        .fix = "leave the product and the activation as two ops"});
}

Attributes LinearGelu::attributes() const {
  return linear_attributes(attrs())
      .set("bias", std::int64_t{attrs().bias})
      .set("dtype", std::string(name_of(attrs().dtype)))
      .set("activation", activation_);
}

std::vector<TensorSpec> LinearGelu::infer(std::span<TensorSpec const> in) const {
  TensorSpec const y{attrs().dtype, infer_product(kind(), attrs(), in)};
  Inputs(kind(), in, {"x", "w", attrs().bias ? "bias" : ""}).dtype(0, {attrs().dtype});
  return {y, y};
}

ShardRule LinearGelu::shard_rule() const {  // no split of K: the activation of a partial sum means nothing
  auto const rows = rows_letters(attrs()), k = k_letters(attrs());
  std::string whole;
  for (char const c : k) whole += text(c, '!');
  return {text(rows, whole, ",*", k, attrs().bias ? ",* -> " : " -> ", rows, "*,", rows, '*')};
}

LinearGradInput::LinearGradInput(LinearAttrs attrs) : WeightProduct(attrs) { require_linear(kind(), attrs); }

Attributes LinearGradInput::attributes() const {
  return linear_attributes(attrs()).set("dtype", std::string(name_of(attrs().dtype)));
}

std::vector<TensorSpec> LinearGradInput::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"dy", "w"});
  x.dtype(1, detail::real_types).ndim_at_least(1, attrs().contract + 1);
  auto const& w = in[1].shape;
  int const n_dims = w.ndim() - attrs().contract;
  x.dtype(0, detail::real_types).ndim(0, attrs().rows_dims + n_dims);
  auto const rows = detail::slice(in[0].shape, 0, attrs().rows_dims);
  x.shape(0, detail::concat(rows, detail::slice(w, 0, n_dims)), "rows and the output features of w");
  return {{attrs().dtype, detail::concat(rows, detail::slice(w, n_dims, w.ndim()))}};
}

ShardRule LinearGradInput::shard_rule() const {
  auto const rows = rows_letters(attrs()), k = k_letters(attrs());
  return {text(rows, "*,*", k, " -> ", rows, k)};
}

LinearGradWeight::LinearGradWeight(LinearAttrs attrs) : attrs_(attrs) { require_linear(kind(), attrs); }

Attributes LinearGradWeight::attributes() const {
  return linear_attributes(attrs_).set("bias", std::int64_t{attrs_.bias});
}

std::vector<TensorSpec> LinearGradWeight::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"dy", "x"});
  x.dtype(0, detail::real_types).ndim_at_least(0, attrs_.rows_dims + 1);
  x.dtype(1, {in[0].dtype}).ndim(1, attrs_.rows_dims + attrs_.contract);
  auto const &dy = in[0].shape, &rows_k = in[1].shape;
  for (int d = 0; d < attrs_.rows_dims; ++d) x.extent(1, d, dy[d], "the rows of dy");
  auto const n = detail::slice(dy, attrs_.rows_dims, dy.ndim());
  auto const k = detail::slice(rows_k, attrs_.rows_dims, rows_k.ndim());
  std::vector<TensorSpec> out{{DType::f32, detail::concat(n, k)}};
  if (attrs_.bias) out.push_back({DType::f32, n});
  return out;
}

ShardRule LinearGradWeight::shard_rule() const {
  auto const rows = rows_letters(attrs_), k = k_letters(attrs_);
  return {text(rows, "*,", rows, k, " -> +*", k, attrs_.bias ? ",=*" : "")};  // column sums of dy do not depend on K
}

Cost LinearGradWeight::cost(std::span<TensorSpec const> in) const {
  auto const k = in[1].shape.count(attrs_.rows_dims, in[1].shape.ndim());
  return detail::cost_of(*this, in, 2 * in[0].count() * k);
}

std::int64_t LinearGradWeight::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  auto const up = [](std::int64_t bytes) { return (bytes + 63) / 64 * 64; };
  auto const n = in[0].shape.count(attrs_.rows_dims, in[0].shape.ndim());
  return detail::library_bytes(threads) + std::int64_t{4} * threads * n + up(in[0].bytes()) + up(in[1].bytes());
}

}  // namespace lamina::graph
