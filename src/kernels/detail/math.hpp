#pragma once

// Branch-free elementary functions of vectors in f32, after the Cephes library (Moshier, 1989): exp and log by range
// reduction and a polynomial. Relative error below 2e-7, measured in tests/unit/kernels/math_test.cpp. NaN stays NaN.
#include <cmath>

#include "simd.hpp"

namespace lamina::kernels::detail {

/// For x <= 88.3 only; below -87.3 it stays at exp(-87.3) = 1.2e-38. A third of the instructions of `exp`.
inline Floats exp_bounded(Floats x) {
  Floats const c = x < -87.3f ? splat(-87.3f) : x;                        // NaN passes
  Floats const n = (c * 1.44269504088896341f + 12582912.f) - 12582912.f;  // nearest integer: 1.5 * 2^23
  Floats r = c - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Floats p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  // n goes into the exponent, unsigned because a lane that nobody wants may overflow; for NaN the conversion gives a
  // power of two that is shifted out.
  auto const exponent = bit_cast_vector<Words>(__builtin_convertvector(n, Ints)) << 23;
  return bit_cast_vector<Floats>(bit_cast_vector<Words>(p) + exponent);
}

/// 0 below -103.97 (subnormal results included), inf above 88.72.
inline Floats exp(Floats x) {
  auto const low = x<-103.97f, high = x> 88.7228394f;
  Floats const c = low ? splat(-103.97f) : high ? splat(88.7228394f) : x;
  Floats const n = (c * 1.44269504088896341f + 12582912.f) - 12582912.f;  // nearest integer: 1.5 * 2^23
  Floats r = c - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Floats p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  // 2^n in two factors: n reaches 128 and -150. A NaN must not be converted.
  Ints const k = __builtin_convertvector(x == x ? n : Floats{}, Ints);
  Ints const half = k >> 1;
  Floats const y = p * bit_cast_vector<Floats>((half + 127) << 23) * bit_cast_vector<Floats>((k - half + 127) << 23);
  return low ? Floats{} : high ? splat(__builtin_inff()) : y;
}

/// Natural logarithm of normal positive numbers and 0 (-inf); subnormals count as the smallest normal number,
/// inf gives inf, negative numbers NaN.
inline Floats log(Floats x) {
  Floats const c = x < 1.17549435e-38f ? splat(1.17549435e-38f) : x;
  Ints const u = bit_cast_vector<Ints>(c);
  Ints e = (u >> 23) - 126;
  Floats m = bit_cast_vector<Floats>((u & 0x007fffff) | 0x3f000000);  // [0.5, 1)
  auto const small = m < 0.707106781186547524f;
  e = small ? e - 1 : e;
  m = (small ? m + m : m) - 1.f;
  Floats const z = m * m;
  Floats p = splat(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  Floats const n = __builtin_convertvector(e, Floats);
  Floats y = m * z * p + n * -2.12194440e-4f - 0.5f * z;
  y = m + y + n * 0.693359375f;
  y = x > 3.40282347e38f ? x : y;
  y = x == 0.f ? splat(-__builtin_inff()) : y;
  return x >= 0.f ? y : splat(__builtin_nanf(""));
}

/// Correctly rounded. The compilers take a loop over lanes apart, hence the intrinsics.
inline Floats sqrt(Floats x) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, x);  // without the mask, g++ 12 warns of its own header
#elif defined(__AVX__)
  return _mm256_sqrt_ps(x);
#else
  for (int i = 0; i < lanes; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

/// 1 / (1 + exp(-x)); 0 is reached as 1e-38.
inline Floats sigmoid(Floats x) { return 1.f / (1.f + exp_bounded(x < -87.3f ? splat(87.3f) : -x)); }

}  // namespace lamina::kernels::detail
