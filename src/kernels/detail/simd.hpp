#pragma once

// Vectors of floats by the compilers' vector extension (GCC, Clang): one register of the build's instruction set.
// Explicit, because the tuning models of today's compilers prefer half-width vectors and give up on conversions.
// Host code only; a GPU version of a kernel is another functor.
#include <bit>
#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace lamina::kernels::detail {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * lanes)));
typedef std::int32_t Ints __attribute__((vector_size(4 * lanes)));
typedef std::uint32_t Words __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t Halves __attribute__((vector_size(2 * lanes)));

/// The upper half of an f32.
struct Bf16 {
  std::uint16_t bits;
};

/// How many lanes a load or store touches: all of them, or the first `count`; the others read as 0.
struct Full {
  static constexpr int count = lanes;
};
struct Part {
  int count;
};

template <class To, class From>
inline To bit_cast_vector(From from) {
  static_assert(sizeof(To) == sizeof(From));
  return reinterpret_cast<To>(from);
}

inline Floats splat(float x) { return x - Floats{}; }  // minus: x + 0 is not x for -0, so it would be computed

/// Lane l holds l.
inline Ints lane_numbers() {
  static constexpr std::int32_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Ints v;
  std::memcpy(&v, numbers, sizeof v);
  return v;
}

inline Floats from_bf16(Halves h) { return bit_cast_vector<Floats>(__builtin_convertvector(h, Words) << 16); }

/// Rounds to nearest, ties to even; NaN stays a (quiet) NaN. Subnormal results may become 0.
inline Halves to_bf16(Floats x) {
#if defined(__AVX512BF16__)
  return bit_cast_vector<Halves>(_mm512_cvtneps_pbh(x));
#else
  auto const u = bit_cast_vector<Words>(x);
  auto const rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  auto const quiet = (u >> 16) | 0x40u;
  return __builtin_convertvector(x == x ? rounded : quiet, Halves);
#endif
}

inline float to_float(float x) { return x; }
inline float to_float(Bf16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

inline Floats load(float const* p, Full = {}) {
  Floats v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Floats load(Bf16 const* p, Full = {}) {
  Halves h;
  std::memcpy(&h, p, sizeof h);
  return from_bf16(h);
}
inline Floats load(float const* p, Part part) {
  Floats v{};
  std::memcpy(&v, p, sizeof(float) * static_cast<unsigned>(part.count));
  return v;
}
inline Floats load(Bf16 const* p, Part part) {
  Halves h{};
  std::memcpy(&h, p, sizeof(Bf16) * static_cast<unsigned>(part.count));
  return from_bf16(h);
}

/// Sums in f64, rounded to f32.
typedef double Doubles __attribute__((vector_size(8 * lanes)));
inline Floats load(double const* p, Full = {}) {
  Doubles v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, Floats);
}
inline Floats load(double const* p, Part part) {
  Doubles v{};
  std::memcpy(&v, p, sizeof(double) * static_cast<unsigned>(part.count));
  return __builtin_convertvector(v, Floats);
}

inline void store(float* p, Floats v, Full = {}) { std::memcpy(p, &v, sizeof v); }
inline void store(Bf16* p, Floats v, Full = {}) {
  auto const h = to_bf16(v);
  std::memcpy(p, &h, sizeof h);
}
inline void store(float* p, Floats v, Part part) {
  std::memcpy(p, &v, sizeof(float) * static_cast<unsigned>(part.count));
}
inline void store(Bf16* p, Floats v, Part part) {
  auto const h = to_bf16(v);
  std::memcpy(p, &h, sizeof(Bf16) * static_cast<unsigned>(part.count));
}

/// Sum of the lanes, in a fixed tree.
inline float sum_lanes(Floats v) {
  float x[lanes];
  std::memcpy(x, &v, sizeof v);
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) x[i] += x[i + width];
  }
  return x[0];
}

/// f(i, Full) for whole vectors of [begin, end), then f(i, Part) for the rest.
template <class F>
inline void for_vectors(std::int64_t begin, std::int64_t end, F const& f) {
  auto i = begin;
  for (; i + lanes <= end; i += lanes) f(i, Full{});
  if (i < end) f(i, Part{static_cast<int>(end - i)});
}

/// Sum over i in [0, n) of f(i, lanes wanted), whose unwanted lanes must be 0. Four chains, fixed order.
template <class F>
inline float sum_vectors(std::int64_t n, F const& f) {
  Floats s0{}, s1{}, s2{}, s3{};
  std::int64_t constexpr one = lanes, four = 4 * one;
  std::int64_t i = 0;
  for (; i + four <= n; i += four) {
    s0 += f(i, Full{});
    s1 += f(i + one, Full{});
    s2 += f(i + 2 * one, Full{});
    s3 += f(i + 3 * one, Full{});
  }
  for (; i + lanes <= n; i += lanes) s0 += f(i, Full{});
  if (i < n) s1 += f(i, Part{static_cast<int>(n - i)});
  return sum_lanes((s0 + s1) + (s2 + s3));
}

/// The first `count` lanes of v, the others 0.
inline Floats keep(Floats v, Full) { return v; }
inline Floats keep(Floats v, Part part) { return lane_numbers() < part.count ? v : Floats{}; }

}  // namespace lamina::kernels::detail
