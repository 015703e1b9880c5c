#include "lamina/base/math.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

// Argument reductions follow W. J. Cody and W. Waite, "Software Manual for the Elementary Functions" (1980): constants
// split into parts short enough that their products with the quotient are exact. The polynomials are the plain series,
// long enough for the reduced range. This file must be compiled with -ffp-contract=off.
namespace lamina::math {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;  // 32 + 53 bits

// 1/n!, correctly rounded: every factorial used is exact in a double up to 18!.
constexpr double factorial(int n) {
  double f = 1;
  for (int i = 2; i <= n; ++i) f *= i;
  return f;
}

// c[0] + x (c[1] + x (c[2] + ...))
template <std::size_t N>
constexpr double polynomial(std::array<double, N> const& c, double x) {
  double sum = c[N - 1];
  for (std::size_t i = N - 1; i-- > 0;) sum = sum * x + c[i];
  return sum;
}

constexpr auto log_series = [] {  // 2/3, 2/5, 2/7, ... of 2 artanh(s) = 2 s + 2/3 s^3 + 2/5 s^5 + ...
  std::array<double, 11> c{};
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = 2.0 / static_cast<double>(2 * i + 3);
  return c;
}();
constexpr auto exp_series = [] {  // 1/2!, 1/3!, ...
  std::array<double, 13> c{};
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = 1 / factorial(static_cast<int>(i) + 2);
  return c;
}();
constexpr auto sin_series = [] {  // -1/3!, 1/5!, ...
  std::array<double, 8> c{};
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = (i % 2 ? 1 : -1) / factorial(static_cast<int>(2 * i) + 3);
  return c;
}();
constexpr auto cos_series = [] {  // 1/4!, -1/6!, ...
  std::array<double, 7> c{};
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = (i % 2 ? -1 : 1) / factorial(static_cast<int>(2 * i) + 4);
  return c;
}();

struct Pair {  // an unevaluated sum, |low| <= ulp(high) / 2
  double high, low;
};

// Knuth's two-sum: exact.
Pair add(double a, double b) {
  double const s = a + b, t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}

// sin and cos of x.high + x.low, at most pi/4 and a little in size.
double sin_reduced(Pair x) {
  double const z = x.high * x.high, tail = x.high * z * polynomial(sin_series, z);
  return x.high + (tail + x.low * (1 - 0.5 * z));
}
double cos_reduced(Pair x) {
  double const z = x.high * x.high, half = 0.5 * z, w = 1 - half;
  return w + (((1 - w) - half) + (z * z * polynomial(cos_series, z) - x.high * x.low));
}

struct SinCos {
  double sin, cos;
};

// Turned by n quarter turns.
SinCos turn(Pair x, std::int64_t n) {
  double const s = sin_reduced(x), c = cos_reduced(x);
  switch (n & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

// Nearest integer; |x| < 2^51. Ties may go either way, reductions do not care.
std::int64_t nearest(double x) { return static_cast<std::int64_t>(x + (x < 0 ? -0.5 : 0.5)); }

SinCos sin_cos(double x) {
  if (!(x >= -0x1p20 && x <= 0x1p20)) return {nan, nan};
  // pi/2 in three parts of 33 bits and one of 53: n has at most 20 bits, so the first three products are exact.
  constexpr double p1 = 0x1.921fb544p+0, p2 = 0x1.0b4611a6p-34, p3 = 0x1.3198a2ep-69, p4 = 0x1.b839a252049c1p-104;
  auto const n = nearest(x * 0x1.45f306dc9c883p-1);
  auto const q = static_cast<double>(n);
  auto const a = add(x - q * p1, -q * p2);  // the first difference is exact (Sterbenz)
  auto const b = add(a.high, -q * p3);
  double const low = a.low + (b.low - q * p4);
  return turn(add(b.high, low), n);
}

SinCos sin_cos_turns(double t) {
  if (!(t >= -0x1p31 && t <= 0x1p31)) return {nan, nan};
  auto const n = nearest(4 * t);
  double const r = t - 0.25 * static_cast<double>(n);  // exact, at most 1/8
  // 2 pi r as a pair: r in two halves of 26 bits, 2 pi in 26 + 53 bits, so the leading products are exact.
  constexpr double pi_high = 0x1.921fb5p+2, pi_low = 0x1.110b4611a6263p-24;
  double const scaled = r * 0x1.0000002p+27, r_high = scaled - (scaled - r), r_low = r - r_high;
  auto const lead = add(r_high * pi_high, r_low * pi_high);
  return turn(add(lead.high, lead.low + r * pi_low), n);
}

}  // namespace

double log(double x) {
  if (!(x > 0)) return x == 0 ? -infinity : nan;
  if (x == infinity) return x;
  int k = 0;
  if (x < std::numeric_limits<double>::min()) x *= 0x1p54, k = -54;
  auto bits = std::bit_cast<std::uint64_t>(x);
  k += static_cast<int>(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
  double m = std::bit_cast<double>(bits);
  if (m > 0x1.6a09e667f3bcdp+0) m *= 0.5, ++k;  // sqrt(1/2) < m <= sqrt(2)
  // log(1 + f) = 2 artanh(s), s = f / (2 + f); written so that the leading f is not rounded.
  double const f = m - 1, s = f / (2 + f), z = s * s, half = 0.5 * f * f, r = z * polynomial(log_series, z);
  double const tail = s * (half + r);
  double const q = k;
  return q * ln2_high - ((half - (tail + q * ln2_low)) - f);
}

double exp(double x) {
  if (x != x) return nan;
  if (x > 709.79) return infinity;
  if (x < -745.2) return 0;
  auto const k = nearest(x * 0x1.71547652b82fep+0);
  auto const q = static_cast<double>(k);
  double const high = x - q * ln2_high, low = q * ln2_low, r = high - low;  // high is exact
  double const r_low = (high - r) - low;
  double const y = 1 + (r + (r * r * polynomial(exp_series, r) + r_low));
  auto const scale = [](std::int64_t e) { return std::bit_cast<double>(static_cast<std::uint64_t>(e + 1023) << 52); };
  if (k > 1023) return y * 2 * scale(k - 1);
  if (k < -1021) return y * scale(k + 200) * 0x1p-200;
  return y * scale(k);
}

double sin(double x) { return sin_cos(x).sin; }
double cos(double x) { return sin_cos(x).cos; }
double sin_turns(double t) { return sin_cos_turns(t).sin; }
double cos_turns(double t) { return sin_cos_turns(t).cos; }
double sqrt(double x) { return std::sqrt(x); }

double power(double base, std::int64_t n) {
  auto left = n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
  double result = 1;
  for (; left != 0; left >>= 1, base *= base) {
    if (left & 1) result *= base;
  }
  return n < 0 ? 1 / result : result;
}

std::array<double, 4> normals(Philox::Words const& words) {
  std::array<double, 4> z{};
  for (std::size_t i = 0; i < 4; i += 2) {
    double const r = std::sqrt(-2 * log((words[i] + 0.5) * 0x1p-32));
    auto const [s, c] = sin_cos_turns(words[i + 1] * 0x1p-32);
    z[i] = r * c, z[i + 1] = r * s;
  }
  return z;
}

double normal(std::uint64_t seed, std::uint64_t element, std::uint32_t step, std::uint32_t operation) {
  return normals(Philox::block(seed, element, step, operation))[element % 4];
}

}  // namespace lamina::math
