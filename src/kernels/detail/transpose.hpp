#pragma once

// Squares of `lanes` by `lanes` words, transposed in registers: at each step rows that differ in one bit of their
// index exchange the lanes that differ in the same bit (Eklundh, "A fast computer method for matrix transposing",
// 1972).
#include <utility>

#include "simd.hpp"

namespace lamina::kernels::detail {

template <int step, bool first, int... I>
inline Floats exchange(Floats a, Floats b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, ((I & step) == 0 ? I + (first ? 0 : step) : I + lanes - (first ? step : 0))...);
}

template <int step>
inline void transpose_step(Floats (&rows)[lanes]) {
  using Index = std::make_integer_sequence<int, lanes>;
#pragma GCC unroll 16
  for (int r = 0; r < lanes; ++r) {
    if ((r & step) != 0) continue;
    Floats const a = rows[r], b = rows[r + step];
    rows[r] = exchange<step, true>(a, b, Index{});
    rows[r + step] = exchange<step, false>(a, b, Index{});
  }
}

/// Lane c of row r becomes lane r of row c.
inline void transpose(Floats (&rows)[lanes]) {
  transpose_step<1>(rows);
  transpose_step<2>(rows);
  if constexpr (lanes > 4) transpose_step<4>(rows);
  if constexpr (lanes > 8) transpose_step<8>(rows);
}

}  // namespace lamina::kernels::detail
