#include "lamina/graph/ops/exact.hpp"

#include <algorithm>
#include <utility>

#include "graph/detail/check.hpp"

namespace lamina::graph {

using detail::Inputs;

namespace {

/// Logits in f64 and their gradient in f32 of as many rows at a time as there is room for.
std::int64_t head_scratch(std::span<TensorSpec const> in) {
  auto const rows = detail::without_last(in[0].shape).count(), words = in[1].shape[0];
  auto const chunk = std::clamp<std::int64_t>((std::int64_t{1} << 22) / std::max<std::int64_t>(words, 1), 1,
                                              std::max<std::int64_t>(rows, 1));
  return 12 * chunk * words;
}

}  // namespace

Exact::Exact(OpPtr op, ExactSums sums, unsigned outputs, ExactSums logits)
    : op_(std::move(op)), sums_(sums), outputs_(outputs), logits_(logits) {
  detail::require_attribute(kind(), sums.fraction >= 0 && sums.fraction <= 51, "fraction", sums.fraction, "0 to 51");
  detail::require_attribute(kind(), sums.limit > 0, "limit", sums.limit, "more than 0");
}

Attributes Exact::attributes() const {
  auto all = op_->attributes().set("fraction", std::int64_t{sums_.fraction}).set("limit", sums_.limit);
  if (logits_.limit > 0) {
    all.set("logits_fraction", std::int64_t{logits_.fraction}).set("logits_limit", logits_.limit);
  }
  return all;
}

std::vector<TensorSpec> Exact::infer(std::span<TensorSpec const> in) const {
  auto out = op_->infer(in);
  for (std::size_t o = 0; o < out.size(); ++o) {
    bool const real = out[o].dtype == DType::f32 || out[o].dtype == DType::bf16;
    if (real && ((outputs_ >> o) & 1u)) out[o].dtype = DType::f64;
  }
  return out;
}

std::int64_t Exact::scratch_bytes(std::span<TensorSpec const> in, int) const {
  return logits_.limit > 0 ? head_scratch(in) : 0;
}

std::int64_t HeadLossSum::scratch_bytes(std::span<TensorSpec const> in, int) const { return head_scratch(in); }

Attributes HeadLossSum::attributes() const {
  return {{"bias", std::int64_t{attrs_.bias}},
          {"fraction", std::int64_t{attrs_.sums.fraction}},
          {"limit", attrs_.sums.limit},
          {"logits_fraction", std::int64_t{attrs_.logits.fraction}},
          {"logits_limit", attrs_.logits.limit}};
}

std::vector<TensorSpec> HeadLossSum::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"x", "w", attrs_.bias ? "bias" : "", "max"});
  x.dtype(0, detail::real_types).ndim_at_least(0, 2);
  x.dtype(1, detail::real_types).ndim(1, 2).extent(1, 1, in[0].shape.back(), "the last dim of x");
  if (attrs_.bias) x.dtype(2, {DType::f32}).shape(2, {in[1].shape[0]}, "the vocabulary of w");
  int const max = attrs_.bias ? 3 : 2;
  auto const rows = detail::without_last(in[0].shape);
  x.dtype(max, {DType::f32}).shape(max, rows, "one maximum per row of x");
  return {{DType::f64, rows}};
}

Cost HeadLossSum::cost(std::span<TensorSpec const> in) const {
  return detail::cost_of(*this, in, 2 * detail::without_last(in[0].shape).count() * in[1].count());
}

}  // namespace lamina::graph
