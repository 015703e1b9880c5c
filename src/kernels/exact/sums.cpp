// Sums over tokens, rows and elements, exact: the same bits however these are cut.
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

using detail::ExactSum, detail::get, detail::Grid, detail::Overflow, detail::put;

void clear_unless(bool add, TensorRef const& t) {
  if (!add) std::fill_n(t.as<double>(), t.spec.count(), 0.0);
}

/// Columns of sums, shared out among the threads: f(column).
template <class F>
void for_each_column(std::string const& label, std::int64_t columns, F const& f) {
  detail::for_each_range(label, columns, 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto d = begin; d < end; ++d) f(d);
  });
}

/// loss (+)= {sum of term(row) over counted rows, number of counted rows}.
template <class Counted, class Term>
void sum_of_rows(std::string_view op, TensorRef const& loss, bool add, FixedPoint const& sums, std::int64_t rows,
                 Counted const& counted, Term const& term) {
  detail::Check const check{op};
  check.dtype("loss", loss, {DType::f64});
  check.count("loss", loss, 2);
  Overflow overflow;
  Grid const grid(sums.fraction);
  ExactSum sum(grid, add ? get(loss, 0) : 0);
  double count = add ? get(loss, 1) : 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (!counted(r)) continue;
    sum.add(term(r), overflow);
    count += 1;
  }
  overflow.check(sum.value(), sums.limit);
  overflow.require(op, "the loss", sums);
  put(loss, 0, sum.value()), put(loss, 1, count);
}

}  // namespace

void embedding_grad_exact(device::Stream& stream, Exact<EmbeddingGradArgs> const& e) {
  static std::string const label = "lamina::kernels::embedding_grad_exact";
  auto const& a = e.args;
  detail::Check const check{"embedding_grad"};
  check.ndim("dtable", a.dtable, 2);
  check.ndim("ids", a.ids, 2);
  auto const columns = a.dtable.spec.shape[1], rows = a.ids.spec.count(), tokens = a.ids.spec.shape[1];
  check.dtype("dx", a.dx, {DType::f32});
  check.dtype("dtable", a.dtable, {DType::f64});
  check.shape("dx", a.dx, {a.ids.spec.shape[0], tokens, columns});
  if (a.dpositions) {
    check.dtype("dpositions", a.dpositions, {DType::f64});
    check.shape("dpositions", a.dpositions, {std::max(tokens, a.dpositions.spec.shape[0]), columns});
  }
  stream.wait();
  detail::require_ids("embedding_grad", a.ids, a.part.words(a.dtable.spec.shape[0]));
  clear_unless((a.accumulate & 1) != 0, a.dtable);
  if (a.dpositions) clear_unless((a.accumulate & 2) != 0, a.dpositions);
  Grid const grid(e.sums.fraction);
  Overflow overflow;
  auto const words = a.part.valid(a.dtable.spec.shape[0]);
  auto const* const ids = a.ids.as<std::int32_t>();
  auto const add = [&](TensorRef const& t, std::int64_t i, double term) {
    ExactSum sum(grid, t.as<double>()[i]);
    sum.add(term, overflow);
    overflow.check(sum.value(), e.sums.limit);
    t.as<double>()[i] = sum.value();
  };
  for_each_column(label, columns, [&](std::int64_t d) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double const term = a.dx.as<float>()[r * columns + d];
      auto const word = ids[r] - a.part.first;
      if (word >= 0 && word < words) add(a.dtable, word * columns + d, term);
      if (a.dpositions) add(a.dpositions, r % tokens * columns + d, term);
    }
  });
  overflow.require("embedding_grad", "dtable or dpositions", e.sums);
}

void layer_norm_grad_exact(device::Stream& stream, Exact<LayerNormGradArgs> const& e) {
  static std::string const label = "lamina::kernels::layer_norm_grad_exact";
  auto const& a = e.args;
  auto const columns = a.x.spec.shape.back(), rows = detail::rows_of(a.x);
  detail::Check const check{"layer_norm_grad"};
  for (auto const& [name, t] : {std::pair{"dscale", &a.dscale}, std::pair{"dshift", &a.dshift}}) {
    check.dtype(name, *t, {DType::f64});
    check.count(name, *t, columns);
  }
  stream.wait();
  Grid const grid(e.sums.fraction);
  Overflow overflow;
  for_each_column(label, columns, [&](std::int64_t d) {  // before dx, which may be the residual's memory
    ExactSum dscale(grid, a.accumulate & 2 ? get(a.dscale, d) : 0),
        dshift(grid, a.accumulate & 4 ? get(a.dshift, d) : 0);
    for (std::int64_t r = 0; r < rows; ++r) {
      double const dy = get(a.dy, r * columns + d);
      // As f32, so that the product is exact: then it makes no difference how the compiler contracts it.
      auto const xhat = static_cast<float>((get(a.x, r * columns + d) - get(a.mean, r)) * get(a.rstd, r));
      dscale.add(dy * xhat, overflow);
      dshift.add(dy, overflow);
    }
    for (double const s : {dscale.value(), dshift.value()}) overflow.check(s, e.sums.limit);
    put(a.dscale, d, dscale.value()), put(a.dshift, d, dshift.value());
  });
  overflow.require("layer_norm_grad", "dscale or dshift", e.sums);
  detail::for_each_range(label, rows, 1,
                         [&](std::int64_t begin, std::int64_t end) { detail::layer_norm_grad_rows(a, begin, end); });
}

void loss_sum_exact(device::Stream& stream, Exact<LossSumArgs> const& e) {
  auto const& a = e.args;
  stream.wait();
  sum_of_rows(
      "loss_sum", a.loss, (a.accumulate & 1) != 0, e.sums, a.targets.spec.count(),
      [&](std::int64_t r) { return a.targets.as<std::int32_t>()[r] >= 0; },
      [&](std::int64_t r) { return get(a.max, r) + std::log(get(a.sum, r)) - get(a.target, r); });
}

void cross_entropy_exact(device::Stream& stream, Exact<CrossEntropyArgs> const& e) {
  auto const& a = e.args;
  auto const classes = a.x.spec.shape.back();
  stream.wait();
  detail::require_classes({"cross_entropy"}, a.x, a.targets);
  sum_of_rows(
      "cross_entropy", a.loss, (a.accumulate & 1) != 0, e.sums, detail::rows_of(a.x),
      [&](std::int64_t r) { return a.targets.as<std::int32_t>()[r] >= 0; },
      [&](std::int64_t r) {
        double max = -HUGE_VAL, sum = 0;
        for (auto i = r * classes; i < (r + 1) * classes; ++i) max = std::fmax(max, get(a.x, i));
        for (auto i = r * classes; i < (r + 1) * classes; ++i) sum += std::exp(get(a.x, i) - max);
        return max + std::log(sum) - get(a.x, r * classes + a.targets.as<std::int32_t>()[r]);
      });
}

void mse_exact(device::Stream& stream, Exact<MseArgs> const& e) {
  auto const& a = e.args;
  auto const outputs = a.x.spec.shape.count(1, a.x.spec.shape.ndim());
  stream.wait();
  sum_of_rows(
      "mse", a.loss, (a.accumulate & 1) != 0, e.sums, a.x.spec.shape[0],
      [&](std::int64_t b) { return a.counted.as<std::int32_t>()[b] >= 0; },
      [&](std::int64_t b) {
        double sum = 0;
        for (auto i = b * outputs; i < (b + 1) * outputs; ++i) sum += std::pow(get(a.x, i) - get(a.y, i), 2);
        return sum / static_cast<double>(outputs);
      });
}

void square_norm_exact(device::Stream& stream, SquareNormArgs const& a) {
  detail::Check const check{"square_norm"};
  for (auto const& g : a.g) check.dtype("g", g, {DType::f32, DType::f64});
  check.dtype("norm", a.norm, {DType::f64});
  check.count("norm", a.norm, 4);
  stream.wait();
  auto* const norm = a.norm.as<double>();
  if (!(a.accumulate & 1)) std::fill_n(norm, 4, 0.0);
  Grid const whole(0), middle(24), fine(48);
  Overflow overflow;
  for (auto const& g : a.g) {
    for (std::int64_t i = 0; i < g.spec.count(); ++i) {
      double const x = static_cast<float>(get(g, i)), square = x * x;  // exact
      if (!std::isfinite(square)) {
        norm[1] += 1;
        continue;
      }
      overflow.check(square, whole.range());
      double const first = whole.round(square), second = middle.round(square - first);
      norm[0] += first, norm[2] += second, norm[3] += fine.round((square - first) - second);
    }
  }
  constexpr double limit = 0x1p44;  // a square norm of 2^52 over 256 ranks
  overflow.check(norm[0], limit);
  overflow.require("square_norm", "the square norm of the gradient", {0, limit});
}

}  // namespace lamina::kernels
