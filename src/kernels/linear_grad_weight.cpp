#include "lamina/kernels/linear_grad_weight.hpp"

#include "detail/linear.hpp"
#include "detail/parallel.hpp"
#include "detail/simd.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

/// dbias[n] (+)= sum of dy[m][n] over m, in the order of m. Threads take columns, so their number changes no bit.
template <class T>
void sum_columns(T const* dy, LinearDims const& d, float* dbias, bool add) {
  static std::string const label = "lamina::kernels::sum_columns";
  constexpr std::int64_t vectors = 4, width = vectors * lanes;
  for_each_range(label, d.n, width, [&](std::int64_t begin, std::int64_t end) {
    auto const sum = [&](std::int64_t column, auto count) {
      Floats s{};
      for (std::int64_t row = 0; row < d.m; ++row) s += load(dy + row * d.n + column, count);
      if (add) s += load(dbias + column, count);
      store(dbias + column, s, count);
    };
    auto column = begin;
    for (; column + width <= end; column += width) {
      Floats s[vectors] = {};
      for (std::int64_t row = 0; row < d.m; ++row) {
        for (int v = 0; v < vectors; ++v) s[v] += load(dy + row * d.n + column + v * lanes);
      }
      for (int v = 0; v < vectors; ++v) {
        auto* const to = dbias + column + v * lanes;
        store(to, add ? s[v] + load(to) : s[v]);
      }
    }
    for_vectors(column, end, sum);
  });
}

}  // namespace
}  // namespace detail

void linear_grad_weight(device::Stream& stream, LinearGradWeightArgs const& a) {
  detail::Check const check{"linear_grad_weight"};
  auto const t = a.dy.spec.dtype;
  auto const d = detail::linear_dims(check, "dy", a.dy, "x", a.x, a.rows_dims);
  check.dtype("x", a.x, {t});
  check.dtype("dw", a.dw, {DType::f32});
  check.count("dw", a.dw, d.n * d.k);
  detail::check_bias(check, "dbias", a.dbias, d.n);
  stream.wait();
  detail::multiply("linear_grad_weight",
                   {.m = d.n,
                    .n = d.k,
                    .k = d.m,
                    .a = {.data = a.dy.data, .dtype = t, .ld = d.n, .transposed = true},
                    .b = {.data = a.x.data, .dtype = t, .ld = d.k},
                    .c = {.data = a.dw.data, .dtype = DType::f32, .ld = d.k},
                    .accumulate = (a.accumulate & 1) != 0},
                   detail::Scratch(a.scratch));
  if (!a.dbias) return;
  bool const add = (a.accumulate & 2) != 0;
  t == DType::f32 ? detail::sum_columns(a.dy.as<float>(), d, a.dbias.as<float>(), add)
                  : detail::sum_columns(a.dy.as<detail::Bf16>(), d, a.dbias.as<float>(), add);
}

}  // namespace lamina::kernels
