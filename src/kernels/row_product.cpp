#include "detail/row_product.hpp"

#include <type_traits>

#include "detail/finish.hpp"
#include "detail/parallel.hpp"

namespace lamina::kernels::detail {
namespace {

/// w at k as the product sees it.
template <bool round, class W, class Count>
Floats weight(W const* w, Count count) {
  auto const v = load(w, count);
  return round && std::is_same_v<W, float> ? from_bf16(to_bf16(v)) : v;
}

/// Products of `Rows` rows of x, f32 and `k` apart, with one row of w.
template <int Rows, bool round, class W>
void dot_rows(float const* x, W const* w, std::int64_t k, float* out) {
  constexpr int chains = 2;
  Floats sum[Rows][chains] = {};
  std::int64_t i = 0;
  for (; i + chains * lanes <= k; i += chains * lanes) {
    for (int c = 0; c < chains; ++c) {
      auto const v = weight<round>(w + i + c * lanes, Full{});
      for (int r = 0; r < Rows; ++r) sum[r][c] += v * load(x + r * k + i + c * lanes);
    }
  }
  for_vectors(i, k, [&](std::int64_t at, auto count) {
    auto const v = weight<round>(w + at, count);
    for (int r = 0; r < Rows; ++r) sum[r][0] += v * load(x + r * k + at, count);
  });
  for (int r = 0; r < Rows; ++r) out[r] = sum_lanes(sum[r][0] + sum[r][1]);
}

template <bool round, class W, class T>
void run(Product const& p, float const* x, W const* w) {
  static std::string const label = "lamina::kernels::multiply_few_rows";
  Finish<T> const finish(p);
  for_each_range(label, p.n, 2 * lanes, [&](std::int64_t begin, std::int64_t end) {
    for_vectors(begin, end, [&](std::int64_t n, auto count) {
      float sums[few_rows][lanes] = {};
      for (int l = 0; l < count.count; ++l) {
        float out[few_rows];
        auto const* const row = w + (n + l) * p.k;
        switch (p.m) {
          case 1:
            dot_rows<1, round>(x, row, p.k, out);
            break;
          case 2:
            dot_rows<2, round>(x, row, p.k, out);
            break;
          case 3:
            dot_rows<3, round>(x, row, p.k, out);
            break;
          default:
            dot_rows<4, round>(x, row, p.k, out);
        }
        for (std::int64_t m = 0; m < p.m; ++m) sums[m][l] = out[m];
      }
      for (std::int64_t m = 0; m < p.m; ++m) finish(m, n, load(sums[m]), count);
    });
  });
}

}  // namespace

void multiply_few_rows(Check const& check, Product const& p, TensorRef const& w, Scratch scratch) {
  auto const* x = static_cast<float const*>(p.a.data);
  if (p.a.dtype == DType::bf16) {
    auto const bytes = 4 * p.m * p.k;
    auto* const copy = scratch.take(bytes);
    if (copy == nullptr) check.scratch({nullptr, {DType::u8, {scratch.left()}}}, bytes);
    convert(p.a.data, DType::bf16, copy, DType::f32, p.m * p.k);
    x = static_cast<float const*>(copy);
  }
  auto const choose = [&](auto const* from) {
    bool const round = p.a.dtype == DType::bf16;
    if (p.c.dtype == DType::f32) {
      round ? run<true, std::remove_cvref_t<decltype(*from)>, float>(p, x, from)
            : run<false, std::remove_cvref_t<decltype(*from)>, float>(p, x, from);
    } else {
      round ? run<true, std::remove_cvref_t<decltype(*from)>, Bf16>(p, x, from)
            : run<false, std::remove_cvref_t<decltype(*from)>, Bf16>(p, x, from);
    }
  };
  w.spec.dtype == DType::f32 ? choose(w.as<float const>()) : choose(w.as<Bf16 const>());
}

}  // namespace lamina::kernels::detail
