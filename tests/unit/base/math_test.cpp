#include "lamina/base/math.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lamina {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

// Distance of `found` from the 80-bit result of glibc, in units of the last place of the double nearest to it.
double ulps(double found, long double expected) {
  auto const nearest = static_cast<double>(expected);
  if (found == nearest) return 0;
  double const unit = std::nextafter(std::fabs(nearest), inf) - std::fabs(nearest);
  return static_cast<double>(std::fabs(static_cast<long double>(found) - expected)) / unit;
}

// A sweep that repeats itself exactly: uniform in [low, high).
template <class F>
void sweep(double low, double high, int count, F const& f) {
  for (int i = 0; i < count; ++i) {
    auto const w = Philox::words(11, {static_cast<std::uint32_t>(i), 0, 0, 0});
    f(low + (high - low) * (w[0] * 0x1p-32 + w[1] * 0x1p-64));
  }
}

TEST(Math, log_is_within_one_unit_of_an_independent_libm) {
  double worst = 0;
  auto const check = [&](double x) {
    worst = std::max(worst, ulps(math::log(x), std::log(static_cast<long double>(x))));
  };
  sweep(0, 1, 50'000, check);
  sweep(0.5, 2, 50'000, check);  // where log(x) is small and cancellation would show
  sweep(0.999, 1.001, 50'000, check);
  sweep(-700, 700, 20'000, [&](double e) { check(std::exp(e)); });
  for (double x : {5e-324, 1e-310, 0x1p-1022, 0.70710678118654746, 1.4142135623730951, 1.7976931348623157e308})
    check(x);
  EXPECT_LE(worst, 1.0);
  EXPECT_GT(worst, 0.0);
}

TEST(Math, log_of_special_values) {
  EXPECT_EQ(math::log(1), 0);
  EXPECT_EQ(math::log(0), -inf);
  EXPECT_EQ(math::log(inf), inf);
  EXPECT_TRUE(std::isnan(math::log(-1)));
  EXPECT_TRUE(std::isnan(math::log(std::nan(""))));
}

TEST(Math, exp_is_within_one_unit_of_an_independent_libm) {
  double worst = 0;
  auto const check = [&](double x) {
    worst = std::max(worst, ulps(math::exp(x), std::exp(static_cast<long double>(x))));
  };
  sweep(-1, 1, 50'000, check);
  sweep(-745, 709.7, 50'000, check);
  sweep(-745.2, -707, 20'000, check);  // subnormal results
  EXPECT_LE(worst, 1.0);
  EXPECT_EQ(math::exp(0), 1);
  EXPECT_EQ(math::exp(-inf), 0);
  EXPECT_EQ(math::exp(inf), inf);
  EXPECT_EQ(math::exp(709.8), inf);
  EXPECT_TRUE(std::isnan(math::exp(std::nan(""))));
}

TEST(Math, sin_and_cos_are_within_one_unit_of_an_independent_libm) {
  double worst = 0;
  auto const check = [&](double x) {
    worst = std::max(worst, ulps(math::cos(x), std::cos(static_cast<long double>(x))));
    worst = std::max(worst, ulps(math::sin(x), std::sin(static_cast<long double>(x))));
  };
  sweep(-4, 4, 50'000, check);
  sweep(-0x1p20, 0x1p20, 50'000, check);
  for (int n = 1; n < 2000; ++n) check(n * 1.5707963267948966);  // next to the zeros: the reduction must not lose bits
  EXPECT_LE(worst, 1.0);
  EXPECT_EQ(math::cos(0), 1);
  EXPECT_EQ(math::sin(0), 0);
  EXPECT_TRUE(std::isnan(math::cos(0x1p21)));
  EXPECT_TRUE(std::isnan(math::cos(std::nan(""))));
}

TEST(Math, turns_are_exact_at_the_quarters_and_accurate_between) {
  constexpr long double two_pi = 6.283185307179586476925286766559005768L;
  double worst = 0;
  sweep(-0.1249, 0.1249, 50'000, [&](double t) {  // the long double product is good enough where it is not reduced
    worst = std::max(worst, ulps(math::cos_turns(t), std::cos(two_pi * t)));
    worst = std::max(worst, ulps(math::sin_turns(t), std::sin(two_pi * t)));
  });
  EXPECT_LE(worst, 1.0);
  for (double n : {0.0, 1.0, -1.0, 1024.0}) {
    EXPECT_EQ(math::cos_turns(n), 1);
    EXPECT_EQ(math::sin_turns(n + 0.25), 1);
    EXPECT_EQ(math::cos_turns(n + 0.25), 0);
    EXPECT_EQ(math::cos_turns(n + 0.5), -1);
    EXPECT_EQ(math::sin_turns(n + 0.75), -1);
  }
  EXPECT_NEAR(math::cos_turns(0.125), std::sqrt(0.5), 2e-16);
  EXPECT_TRUE(std::isnan(math::sin_turns(inf)));
}

TEST(Math, power_keeps_its_bound) {
  for (int n : {0, 1, 2, 3, 7, 64, 1000, 20'000}) {
    for (double b : {0.9, 0.95, 0.999, 1.0001}) {
      auto const expected = std::pow(static_cast<long double>(b), static_cast<long double>(n));
      if (expected < 1e-300L) continue;  // below the normal doubles
      EXPECT_LE(std::fabs(static_cast<double>((math::power(b, n) - expected) / expected)), n * 0x1p-53 + 1e-18)
          << b << "^" << n;
    }
  }
  EXPECT_EQ(math::power(2, -3), 0.125);
  EXPECT_EQ(math::power(0, 0), 1);
}

TEST(Math, normals_have_the_moments_and_the_tails_of_a_normal_distribution) {
  constexpr int blocks = 50'000;
  double sum = 0, square = 0, fourth = 0, product = 0;
  int beyond_two = 0;
  for (int i = 0; i < blocks; ++i) {
    auto const z = math::normals(Philox::block(1, std::uint64_t(4) * i, 0, 5));
    for (double v : z) {
      sum += v, square += v * v, fourth += v * v * v * v;
      beyond_two += std::fabs(v) > 2;
    }
    product += z[0] * z[1] + z[2] * z[3];
  }
  double const n = 4.0 * blocks, sigma = 1 / std::sqrt(n);
  EXPECT_NEAR(sum / n, 0, 4 * sigma);
  EXPECT_NEAR(square / n, 1, 4 * sigma * std::sqrt(2.0));
  EXPECT_NEAR(fourth / n, 3, 4 * sigma * std::sqrt(96.0));
  EXPECT_NEAR(beyond_two / n, 0.0455, 4 * sigma * std::sqrt(0.0455));
  EXPECT_NEAR(product / (n / 2), 0, 4 * sigma * std::sqrt(2.0));
}

TEST(Math, normals_of_extreme_words_are_finite) {
  auto const z = math::normals({0, 0, 0xffffffffu, 0xffffffffu});
  EXPECT_NEAR(z[0], std::sqrt(-2 * std::log(0x1p-33)), 1e-14);
  EXPECT_EQ(z[1], 0);
  EXPECT_GT(z[2], 0);
  EXPECT_LT(z[2], 1e-4);
  EXPECT_EQ(math::normal(3, 6, 9, 12), math::normals(Philox::block(3, 6, 9, 12))[2]);
}

}  // namespace
}  // namespace lamina
