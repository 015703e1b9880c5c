#include "detail/panels.hpp"

#include <algorithm>
#include <cstring>

#include "detail/micro_kernel.hpp"
#include "detail/transpose.hpp"
#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace lamina::kernels::detail {
namespace {

/// How elements become words.
struct F32 {
  using Element = float;
  static constexpr int elements = 1;
};
struct WidenedBf16 {
  using Element = Bf16;
  static constexpr int elements = 1;
};
struct PairedBf16 {
  using Element = Bf16;
  static constexpr int elements = 2;
};

/// Calls f(Kind{}) for the source's type.
template <class F>
void with_kind(DType t, F const& f) {
  if (t == DType::f32) return f(F32{});
  if constexpr (has_bf16_dot) {
    f(PairedBf16{});
  } else {
    f(WidenedBf16{});
  }
}

template <class Kind>
typename Kind::Element const* elements_of(Source const& s) {
  return static_cast<typename Kind::Element const*>(s.data);
}

std::uint32_t bits(float x) {
  std::uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}

/// The word of one line at element k; `next` elements on lies its pair.
template <class Kind>
std::uint32_t word_at(typename Kind::Element const* p, std::int64_t next, bool has_pair) {
  if constexpr (Kind::elements == 2) {
    return std::uint32_t{p->bits} | (has_pair ? std::uint32_t{p[next].bits} << 16 : 0);
  } else {
    return bits(to_float(*p));
  }
}

/// The first `Count` lanes, without touching memory behind them.
template <int Count>
Words load_words(float const* p) {
  Words w{};
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  if constexpr (Count < lanes) return reinterpret_cast<Words>(_mm512_maskz_loadu_ps((1u << Count) - 1, p));
#endif
  std::memcpy(&w, p, sizeof(float) * Count);
  return w;
}

template <int Count>
Words load_words(Bf16 const* p) {  // zero-extended
  Halves h{};
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  if constexpr (Count < lanes) {
    return __builtin_convertvector(reinterpret_cast<Halves>(_mm256_maskz_loadu_epi16((1u << Count) - 1, p)), Words);
  }
#endif
  std::memcpy(&h, p, sizeof(Bf16) * Count);
  return __builtin_convertvector(h, Words);
}

template <int Count>
void store_words(std::uint32_t* p, Words w) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  if constexpr (Count < lanes) {
    return _mm512_mask_storeu_epi32(p, (1u << Count) - 1, reinterpret_cast<__m512i>(w));
  }
#endif
  std::memcpy(p, &w, sizeof(std::uint32_t) * Count);
}

/// One word of each of `Count` neighbouring lines (lines contiguous).
template <class Kind, int Count>
void pack_words(typename Kind::Element const* p, std::int64_t ld, bool has_pair, std::uint32_t* out) {
  auto w = load_words<Count>(p);
  if constexpr (Kind::elements == 2) {
    if (has_pair) w |= load_words<Count>(p + ld) << 16;
  } else if constexpr (std::is_same_v<typename Kind::Element, Bf16>) {
    w = w << 16;
  }
  store_words<Count>(out, w);
}

template <class Kind, int Width>
void pack_across_panel(typename Kind::Element const* p, std::int64_t ld, bool has_pair, std::uint32_t* out) {
  constexpr int whole = Width / lanes * lanes;
  for (int i = 0; i < whole; i += lanes) pack_words<Kind, lanes>(p + i, ld, has_pair, out + i);
  if constexpr (whole < Width) pack_words<Kind, Width - whole>(p + whole, ld, has_pair, out + whole);
}

/// The piece of a row that is packed some rows later: rows are too short for the hardware to see them coming.
template <class Element>
void prefetch_row(Element const* row, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 64 / static_cast<std::int64_t>(sizeof(Element))) {
    __builtin_prefetch(row + i, 0, 3);
  }
}
constexpr std::int64_t rows_ahead = 4;

/// Lines contiguous: words outermost, so that memory is read in its order.
template <class Kind, int Width>
void pack_across(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride) {
  auto const* const from = elements_of<Kind>(s) + at.k * s.ld + at.line;
  for (std::int64_t k = 0, word = 0; k < at.depth; k += Kind::elements, ++word) {
    bool const has_pair = k + 1 < at.depth;
    auto const* p = from + k * s.ld;
    auto* to = out + word * Width;
    prefetch_row(p + rows_ahead * s.ld, at.lines);
    if constexpr (Kind::elements == 2) prefetch_row(p + (rows_ahead + 1) * s.ld, at.lines);
    std::int64_t line = 0;
    for (; line + Width <= at.lines; line += Width, to += stride) {
      pack_across_panel<Kind, Width>(p + line, s.ld, has_pair, to);
    }
    if (line == at.lines) continue;
    for (int i = 0; i < Width; ++i) {
      to[i] = line + i < at.lines ? word_at<Kind>(p + line + i, s.ld, has_pair) : 0;
    }
  }
}

/// `lanes` words of one line (k contiguous), of which `elements` elements exist.
template <class Kind>
Floats words_along(typename Kind::Element const* p, std::int64_t elements) {
  constexpr int wanted = lanes * Kind::elements;
  if constexpr (std::is_same_v<Kind, WidenedBf16>) {
    return elements >= wanted ? load(p) : load(p, Part{static_cast<int>(elements)});
  } else {
    Floats v{};
    if (elements >= wanted) {
      std::memcpy(&v, p, sizeof v);
    } else {
      std::memcpy(&v, p, sizeof(typename Kind::Element) * static_cast<std::size_t>(elements));
    }
    return v;
  }
}

/// k contiguous: squares of `lanes` words, transposed in registers.
template <class Kind>
void pack_along(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride) {
  auto const* const from = elements_of<Kind>(s) + at.line * s.ld + at.k;
  auto const words = (at.depth + Kind::elements - 1) / Kind::elements;
  auto const lines = (at.lines + panel - 1) / panel * panel;
  for (std::int64_t line = 0; line < lines; line += lanes) {
    auto* const to = out + line / panel * stride + line % panel;
    for (std::int64_t word = 0; word < words; word += lanes) {
      Floats v[lanes];
      auto const k = word * Kind::elements;
      if (line + lanes <= at.lines && k + lanes * Kind::elements <= at.depth) {
        for (int i = 0; i < lanes; ++i) v[i] = words_along<Kind>(from + (line + i) * s.ld + k, lanes * Kind::elements);
      } else {
        for (int i = 0; i < lanes; ++i) {
          v[i] = line + i < at.lines ? words_along<Kind>(from + (line + i) * s.ld + k, at.depth - k) : Floats{};
        }
      }
      transpose(v);
      auto const count = std::min<std::int64_t>(lanes, words - word);
      for (int i = 0; i < count; ++i) std::memcpy(to + (word + i) * panel, &v[i], sizeof(Floats));
    }
  }
}

}  // namespace

int word_elements(DType t) { return t == DType::bf16 && has_bf16_dot ? 2 : 1; }

void pack_columns(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride) {
  with_kind(s.dtype, [&](auto kind) {
    using Kind = decltype(kind);
    s.k_contiguous ? pack_along<Kind>(s, at, out, stride) : pack_across<Kind, panel>(s, at, out, stride);
  });
}

void pack_rows(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride) {
  with_kind(s.dtype, [&](auto kind) { pack_across<decltype(kind), block_rows>(s, at, out, stride); });
}

void copy_rows(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride) {
  with_kind(s.dtype, [&](auto kind) {
    using Kind = decltype(kind);
    auto const words = (at.depth + Kind::elements - 1) / Kind::elements;
    for (std::int64_t line = 0; line < at.lines; ++line) {
      auto const* const from = elements_of<Kind>(s) + (at.line + line) * s.ld + at.k;
      auto* const to = out + line * stride;
      std::int64_t word = 0;
      for (; (word + lanes) * Kind::elements <= at.depth; word += lanes) {
        auto const w = words_along<Kind>(from + word * Kind::elements, lanes * Kind::elements);
        std::memcpy(to + word, &w, sizeof w);
      }
      if (word == words) continue;
      auto const w = words_along<Kind>(from + word * Kind::elements, at.depth - word * Kind::elements);
      std::memcpy(to + word, &w, sizeof(std::uint32_t) * static_cast<std::size_t>(words - word));
    }
  });
}

}  // namespace lamina::kernels::detail
