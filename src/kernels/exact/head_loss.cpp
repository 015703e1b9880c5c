// The head with a vocabulary that may be cut anywhere: logits are exact sums, as large as the rows of a chunk allow.
#include <algorithm>
#include <cmath>

#include "../detail/check.hpp"
#include "../detail/element.hpp"
#include "../detail/exact.hpp"
#include "../detail/ids.hpp"
#include "../detail/parallel.hpp"
#include "lamina/kernels/exact.hpp"

namespace lamina::kernels {
namespace {

using detail::ExactProduct, detail::get, detail::Overflow, detail::put;

struct Head {
  TensorRef x, w, bias, scratch;
  VocabPart part;
  FixedPoint sums;
  std::string_view op;

  std::int64_t model() const { return x.spec.shape.back(); }
  std::int64_t rows() const { return detail::rows_of(x); }
  std::int64_t words() const { return part.valid(w.spec.shape[0]); }  // those that are no padding

  /// Rows at a time, whose logits and gradient are the scratch.
  std::int64_t chunk() const {
    constexpr std::int64_t most_logits = 1 << 22;
    return std::clamp<std::int64_t>(most_logits / std::max<std::int64_t>(w.spec.shape[0], 1), 1,
                                    std::max<std::int64_t>(rows(), 1));
  }
  float* gradient() const { return reinterpret_cast<float*>(scratch.as<double>() + chunk() * words()); }

  void check() const {
    detail::Check const c{op};
    c.scratch(scratch, 12 * chunk() * w.spec.shape[0]);
    c.dtype("x", x, {DType::f32, DType::bf16});
    c.dtype("w", w, {DType::f32, DType::bf16});
    c.ndim("w", w, 2);
    c.shape("w", w, {w.spec.shape[0], model()});
    if (bias) c.dtype("bias", bias, {DType::f32}), c.count("bias", bias, w.spec.shape[0]);
  }

  /// f(first row, rows, logits [rows, words]) for one chunk of rows after the other.
  template <class F>
  void for_each_chunk(F const& f) const {
    auto const n = words(), d = model();
    auto* const logits = scratch.as<double>();
    Overflow overflow;
    for (std::int64_t r = 0; r < rows(); r += chunk()) {
      auto const count = std::min(chunk(), rows() - r);
      detail::exact_product({.a = rows_of_x(r, count),
                             .b = {w, n, d, 1},
                             .k = d,
                             .c = logits,
                             .c_stride = n,
                             .start = bias ? bias.as<float>() : nullptr,
                             .sums = sums},
                            overflow);
      overflow.require(op, "a logit", sums);
      f(r, count, logits);
    }
  }
  detail::Terms rows_of_x(std::int64_t first, std::int64_t count) const {
    auto part_of_x = x;
    part_of_x.data = x.as<char>() + first * model() * sizeof_dtype(x.spec.dtype);
    return {part_of_x, count, model(), 1};
  }
};

/// f(r) for the rows of a chunk.
template <class F>
void for_each_row(std::int64_t rows, F const& f) {
  static std::string const label = "lamina::kernels::head_loss_exact";
  detail::for_each_task(label, rows, [&](std::int64_t r, int) { f(r); });
}

}  // namespace

void head_loss_stats_exact(device::Stream& stream, Exact<HeadLossStatsArgs> const& e) {
  auto const& a = e.args;
  Head const head{a.x, a.w, a.bias, a.scratch, a.part, e.logits, "head_loss_stats"};
  head.check();
  stream.wait();
  detail::require_targets({"head_loss_stats"}, a.targets, head.rows(), a.part.words(a.w.spec.shape[0]));
  auto const n = head.words();
  head.for_each_chunk([&](std::int64_t first, std::int64_t rows, double const* logits) {
    for_each_row(rows, [&](std::int64_t r) {
      auto const* const row = logits + r * n;
      double max = -HUGE_VAL, sum = 0;
      for (std::int64_t v = 0; v < n; ++v) max = row[v] > max || std::isnan(row[v]) ? row[v] : max;
      for (std::int64_t v = 0; v < n; ++v) sum += std::exp(row[v] - max);
      auto const target = a.targets.as<std::int32_t>()[first + r] - a.part.first;
      bool const here = a.targets.as<std::int32_t>()[first + r] >= 0 && target >= 0 && target < n;
      put(a.max, first + r, max), put(a.sum, first + r, sum);
      put(a.target, first + r, here ? row[target] : 0);
    });
  });
}

void head_loss_sum_exact(device::Stream& stream, Exact<HeadLossSumArgs> const& e) {
  auto const& a = e.args;
  Head const head{a.x, a.w, a.bias, a.scratch, a.part, e.logits, "head_loss_sum"};
  head.check();
  detail::Check const check{"head_loss_sum"};
  check.dtype("max", a.max, {DType::f32});
  check.count("max", a.max, head.rows());
  check.dtype("sum", a.sum, {DType::f64});
  check.count("sum", a.sum, head.rows());
  stream.wait();
  detail::Grid const grid(e.sums.fraction);
  Overflow overflow;
  auto const n = head.words();
  head.for_each_chunk([&](std::int64_t first, std::int64_t rows, double const* logits) {
    for_each_row(rows, [&](std::int64_t r) {
      double const max = get(a.max, first + r);
      detail::ExactSum sum(grid, 0);
      for (std::int64_t v = 0; v < n; ++v) sum.add(std::exp(logits[r * n + v] - max), overflow);
      overflow.check(sum.value(), e.sums.limit);
      put(a.sum, first + r, sum.value());
    });
  });
  overflow.require("head_loss_sum", "sum", e.sums);
}

void head_loss_grad_exact(device::Stream& stream, Exact<HeadLossGradArgs> const& e) {
  auto const& a = e.args;
  Head const head{a.x, a.w, a.bias, a.scratch, a.part, e.logits, "head_loss_grad"};
  head.check();
  detail::Check const check{"head_loss_grad"};
  check.dtype("dx", a.dx, {DType::f64});
  check.count("dx", a.dx, a.x.spec.count());
  check.dtype("dw", a.dw, {DType::f64});
  check.shape("dw", a.dw, a.w.spec.shape);
  stream.wait();
  detail::require_targets({"head_loss_grad"}, a.targets, head.rows(), a.part.words(a.w.spec.shape[0]));
  auto const n = head.words(), d = head.model();
  auto const zero = [](TensorRef const& t) { std::fill_n(t.as<double>(), t.spec.count(), 0.0); };
  if (!(a.accumulate & 2)) zero(a.dw);  // the rows of padding too
  if (a.dbias && !(a.accumulate & 4)) zero(a.dbias);
  Overflow overflow;
  auto* const gradient = head.gradient();
  head.for_each_chunk([&](std::int64_t first, std::int64_t rows, double const* logits) {
    for_each_row(rows, [&](std::int64_t r) {
      auto const target = a.targets.as<std::int32_t>()[first + r];
      double const max = get(a.max, first + r), sum = get(a.sum, first + r);
      for (std::int64_t v = 0; v < n; ++v) {
        double const p = std::exp(logits[r * n + v] - max) / sum;
        gradient[r * n + v] = target < 0 ? 0.f : static_cast<float>(p - (a.part.first + v == target ? 1 : 0));
      }
    });
    TensorRef const g{gradient, {DType::f32, {rows, n}}};
    ExactProduct dx{.a = {g, rows, n, 1}, .b = {a.w, d, 1, d}, .k = n, .sums = e.sums};
    dx.c = a.dx.as<double>() + first * d, dx.c_stride = d;
    detail::exact_product(dx, overflow);
    overflow.require("head_loss_grad", "dx", e.sums);
    auto x = head.rows_of_x(first, rows);
    x.rows = d, x.row_stride = 1, x.k_stride = d;
    ExactProduct dw{.a = {g, n, 1, n}, .b = x, .k = rows, .add = true, .sums = e.sums};
    dw.c = a.dw.as<double>(), dw.c_stride = d;
    detail::exact_product(dw, overflow);
    overflow.require("head_loss_grad", "dw", e.sums);
    if (!a.dbias) return;
    float const one = 1;
    TensorRef const ones{const_cast<float*>(&one), {DType::f32, {1}}};
    ExactProduct dbias{.a = {ones, 1, 0, 0}, .b = {g, n, 1, n}, .k = rows, .add = true, .sums = e.sums};
    dbias.c = a.dbias.as<double>(), dbias.c_stride = n;
    detail::exact_product(dbias, overflow);
    overflow.require("head_loss_grad", "dbias", e.sums);
  });
}

}  // namespace lamina::kernels
