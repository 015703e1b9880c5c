#pragma once

// The innermost loop of our own matrix product: a block of rows of A times a panel of B, held in registers.
#include <cstdint>
#include <cstring>
#include <utility>

#include "simd.hpp"
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace lamina::kernels::detail {

/// What a product multiplies: 32-bit words, each one f32 or a pair of bf16 that are neighbours in the contraction.
struct WordF32 {
  static Floats multiply_add(Floats sum, std::uint32_t a, Floats b) {
    float x;
    std::memcpy(&x, &a, sizeof x);
    return sum + x * b;
  }
};

#if defined(__AVX512BF16__)
inline constexpr bool has_bf16_dot = true;
struct WordBf16 {  // VDPBF16PS: two products per lane, summed in f32
  static Floats multiply_add(Floats sum, std::uint32_t a, Floats b) {
    auto const pair = _mm512_set1_epi32(static_cast<int>(a));
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(pair), reinterpret_cast<__m512bh>(b));
  }
};
#else
inline constexpr bool has_bf16_dot = false;
#endif

inline constexpr int panel_vectors = 2, panel = panel_vectors * lanes;  // columns of B per panel
inline constexpr int block_rows = lanes == 16 ? 14 : 6;                 // of A: fills 32 or 16 registers

/// t[i][j] (+)= sum over k of a[i * row + k * step] * b[k][j] for `Rows` rows and one panel, k in words.
/// `ahead`: a stretch of memory that the next call's A comes from, fetched line by line as the loop goes.
template <class Word, int Rows>
void micro_kernel(std::int64_t words, std::uint32_t const* a, std::int64_t row, std::int64_t step, float const* b,
                  float* t, std::int64_t ld, bool add) {
  Floats sum[Rows][panel_vectors];
#pragma GCC unroll 14
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < panel_vectors; ++v) sum[i][v] = add ? load(t + i * ld + v * lanes) : Floats{};
  }
  for (std::int64_t k = 0; k < words; ++k) {
    Floats const b0 = load(b + k * panel), b1 = load(b + k * panel + lanes);
#pragma GCC unroll 14
    for (int i = 0; i < Rows; ++i) {
      auto const x = a[i * row + k * step];
      sum[i][0] = Word::multiply_add(sum[i][0], x, b0);
      sum[i][1] = Word::multiply_add(sum[i][1], x, b1);
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < panel_vectors; ++v) store(t + i * ld + v * lanes, sum[i][v]);
  }
}

}  // namespace lamina::kernels::detail
