#pragma once

#include <utility>

#include "simd.hpp"

namespace lamina::kernels::detail {

template <int Size, int Low, int... I>  // exchange of blocks of `Size` lanes between two rows
inline Floats exchange(Floats a, Floats b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b,
                                 ((I & Size) == 0 ? I + (Low ? 0 : Size) : I - Size + lanes + (Low ? 0 : Size))...);
}

template <int Size>
inline void transpose_step(Floats (&v)[lanes]) {
  using Index = std::make_integer_sequence<int, lanes>;
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) {
    if ((i & Size) != 0) continue;
    Floats const low = exchange<Size, 1>(v[i], v[i + Size], Index{});
    v[i + Size] = exchange<Size, 0>(v[i], v[i + Size], Index{});
    v[i] = low;
  }
}

/// v[i][j] = v[j][i], in registers.
inline void transpose(Floats (&v)[lanes]) {
  transpose_step<1>(v);
  transpose_step<2>(v);
  if constexpr (lanes >= 8) transpose_step<lanes >= 8 ? 4 : 1>(v);
  if constexpr (lanes >= 16) transpose_step<lanes >= 16 ? 8 : 1>(v);
}

}  // namespace lamina::kernels::detail
