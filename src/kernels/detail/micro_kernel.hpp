#pragma once

// The innermost loop of our own matrix product: a block of rows of A times a panel of B, held in registers.
#include <algorithm>
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

/// Memory that will be read soon: rows of `bytes`, `stride` apart; `lines` of 64 bytes at a time.
struct Lines {
  char const* row = nullptr;
  std::int64_t rows = 0, bytes = 0, stride = 0, at = 0;
  int lines = 1;

  void fetch() {
    for (int i = 0; i < lines && rows > 0; ++i) {
      __builtin_prefetch(row + at, 0, 2);  // into the second-level cache
      at += 64;
      if (at >= bytes) at = 0, row += stride, --rows;
    }
  }
};

/// What the micro-kernel fetches while it multiplies.
struct Ahead {
  Lines a, b, c;
  void fetch() { a.fetch(), b.fetch(), c.fetch(); }
};
inline constexpr std::int64_t words_per_fetch = 32;

/// Where sums go: t[i][j], rows `ld` apart, added to or overwritten. `next` is the block that comes after this one.
struct Target {
  float* t = nullptr;
  std::int64_t ld = 0;
  bool add = false;
  float* next = nullptr;
};

/// Words of A as the micro-kernel wants them, row by row for one k after the other: out of `pack_rows`.
struct PackedWords {
  std::uint32_t const* a;
  PackedWords(std::uint32_t const* from, std::int64_t) : a(from) {}
  template <int i>
  std::uint32_t word() const {
    return a[i];
  }
  void next() { a += block_rows; }
};

/// The same out of rows `stride` bytes apart. Row i is reached from one of four pointers by a multiple of the stride
/// that an address can express, or the loop would run out of registers: moving one back and forth costs as much as a
/// multiply-add.
struct WordsInRows {
  char const *row0, *row3, *row4, *row9;
  std::int64_t stride;

  WordsInRows(std::uint32_t const* from, std::int64_t row)
      : row0(reinterpret_cast<char const*>(from)),
        row3(row0 + 12 * row),
        row4(row0 + 16 * row),
        row9(row0 + 36 * row),
        stride(4 * row) {
#if defined(__GNUC__)
    asm("" : "+r"(row3), "+r"(row4), "+r"(row9));  // forget how they are related
#endif
  }
  template <int i>
  std::uint32_t word() const {
    constexpr char base[14] = {0, 0, 0, 3, 0, 4, 4, 3, 0, 9, 9, 3, 4, 9};
    auto const* const p = base[i] == 0 ? row0 : base[i] == 3 ? row3 : base[i] == 4 ? row4 : row9;
    std::uint32_t w;
    std::memcpy(&w, p + (i - base[i]) * stride, sizeof w);
    return w;
  }
  void next() { row0 += 4, row3 += 4, row4 += 4, row9 += 4; }
};

template <class Word, class Words, int... i>
inline void multiply_add_rows(Floats (&sum)[sizeof...(i)][panel_vectors], Words const& a, Floats b0, Floats b1,
                              std::integer_sequence<int, i...>) {
  ((sum[i][0] = Word::multiply_add(sum[i][0], a.template word<i>(), b0),
    sum[i][1] = Word::multiply_add(sum[i][1], a.template word<i>(), b1)),
   ...);
}

/// t[i][j] (+)= sum over k of a(i, k) b[k][j] for `Rows` rows and one panel; `words` of the contraction. `row`: words
/// between rows of A.
template <class Word, class Words, int Rows>
void micro_kernel(std::int64_t words, std::uint32_t const* from, std::int64_t row, float const* b, Target const& to,
                  Ahead& ahead) {
  Floats sum[Rows][panel_vectors];
#pragma GCC unroll 14
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < panel_vectors; ++v) {
      sum[i][v] = to.add ? load(to.t + i * to.ld + v * lanes) : Floats{};
      __builtin_prefetch(to.next + i * to.ld + v * lanes);
    }
  }
  Words a(from, row);
  for (std::int64_t done = 0; done < words; done += words_per_fetch) {
    auto const* const end = b + std::min(words_per_fetch, words - done) * panel;
    for (; b < end; b += panel, a.next()) {
      multiply_add_rows<Word>(sum, a, load(b), load(b + lanes), std::make_integer_sequence<int, Rows>{});
    }
    ahead.fetch();
  }
#pragma GCC unroll 14
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < panel_vectors; ++v) store(to.t + i * to.ld + v * lanes, sum[i][v]);
  }
}

}  // namespace lamina::kernels::detail
