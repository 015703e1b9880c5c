#include "lamina/graph/ops/update.hpp"

#include "graph/detail/check.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/tensor/packed.hpp"

namespace lamina::graph {

using detail::Inputs;

namespace {

/// Checks that the first `tensors` inputs are f32 (the gradient perhaps an exact sum) of one shape and the last one is
/// `hyper`.
void require_update(Inputs const& in, int tensors) {
  in.dtype(0, {DType::f32, DType::f64});
  for (int i = 1; i < tensors; ++i) in.dtype(i, {DType::f32}).shape(i, in[0].shape, "the shape of g");
  in.dtype(tensors, {DType::f64}).shape(tensors, {4}, "{lr, step, gradient scale, skip}");
}

void require_fraction(std::string_view kind, std::string_view name, double x) {
  detail::require_attribute(kind, x >= 0 && x < 1, name, x, "in [0, 1)");
}

void require_decay(std::string_view kind, double x) {
  detail::require_attribute(kind, x >= 0, "weight_decay", x, "0 or more");
}

}  // namespace

AdamW::AdamW(Attrs attrs) : attrs_(attrs) {
  require_fraction(kind(), "beta1", attrs.beta1);
  require_fraction(kind(), "beta2", attrs.beta2);
  detail::require_attribute(kind(), attrs.eps > 0, "eps", attrs.eps, "more than 0");
  require_decay(kind(), attrs.weight_decay);
}

Attributes AdamW::attributes() const {
  return {{"beta1", attrs_.beta1}, {"beta2", attrs_.beta2}, {"eps", attrs_.eps}, {"weight_decay", attrs_.weight_decay}};
}

std::vector<TensorSpec> AdamW::infer(std::span<TensorSpec const> in) const {
  require_update(Inputs(kind(), in, {"g", "p", "m", "v", "hyper"}), 4);
  return {in[1], in[2], in[3]};
}

Cost AdamW::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

Sgd::Sgd(Attrs attrs) : attrs_(attrs) {
  require_fraction(kind(), "momentum", attrs.momentum);
  require_decay(kind(), attrs.weight_decay);
}

Attributes Sgd::attributes() const { return {{"momentum", attrs_.momentum}, {"weight_decay", attrs_.weight_decay}}; }

std::vector<TensorSpec> Sgd::infer(std::span<TensorSpec const> in) const {
  require_update(Inputs(kind(), in, {"g", "p", "m", "hyper"}), 3);
  return {in[1], in[2]};
}

Cost Sgd::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

SquareNorm::SquareNorm(int tensors, bool exact) : tensors_(tensors), exact_(exact) {
  detail::require_attribute(kind(), tensors >= 1, "tensors", tensors, "at least 1");
}

std::vector<TensorSpec> SquareNorm::infer(std::span<TensorSpec const> in) const {
  if (static_cast<int>(in.size()) != tensors_) {
    fail({.code = "graph.square_norm.operands",
          .subject = "square_norm: wrong number of inputs",
          .found = text(in.size()),
          .expected = text(tensors_, ", as the op was made for"),
          .fix = "make the op with the number of tensors it gets"});
  }
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i].dtype == DType::f32 || (exact_ && in[i].dtype == DType::f64)) continue;
    fail({.code = "graph.square_norm.dtype",
          .subject = text("square_norm: element type of input ", i),
          .found = text(in[i]),
          .expected = "f32",
          .fix = "pass gradients, which are f32"});
  }
  return {{DType::f64, {exact_ ? 4 : 2}}};
}

Attributes SquareNorm::attributes() const {
  return exact_ ? Attributes{{"exact", std::int64_t{1}}} : Attributes{};
}

ShardRule SquareNorm::shard_rule() const {
  std::string rule = ".";
  for (int i = 1; i < tensors_; ++i) rule += ",.";
  return {rule + " -> ."};
}

Cost SquareNorm::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

PackWeight::PackWeight(Attrs attrs) : attrs_(attrs) {
  detail::require_attribute(kind(), attrs.n >= 1, "n", static_cast<double>(attrs.n), "at least 1");
  detail::require_attribute(kind(), attrs.k >= 1, "k", static_cast<double>(attrs.k), "at least 1");
  detail::require_attribute(kind(), attrs.dtype == DType::f32 || attrs.dtype == DType::bf16, "dtype",
                            static_cast<int>(attrs.dtype), "f32 or bf16");
}

Attributes PackWeight::attributes() const {
  return {{"use", std::string(attrs_.use == Use::forward ? "forward" : "backward")},
          {"n", attrs_.n},
          {"k", attrs_.k},
          {"rows", attrs_.rows},
          {"dtype", std::string(name_of(attrs_.dtype))}};
}

std::vector<TensorSpec> PackWeight::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"w"});
  x.dtype(0, detail::real_types);
  if (in[0].count() != attrs_.n * attrs_.k) x.fail_shape(0, text(attrs_.n, " x ", attrs_.k, " elements"));
  return {{DType::u8, {packed_weight_bytes(attrs_.n, attrs_.k, attrs_.dtype)}}};
}

Cost PackWeight::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::int64_t PackWeight::scratch_bytes(std::span<TensorSpec const>, int threads) const {
  return detail::library_bytes(threads);
}

}  // namespace lamina::graph
