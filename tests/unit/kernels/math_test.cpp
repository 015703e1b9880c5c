// The elementary functions of the kernels against libm in double.
#include "kernels/detail/math.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/detail/gelu.hpp"

namespace lamina::kernels::detail {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

template <class F>
float at(F const& f, float x) {
  auto const y = f(splat(x));
  for (int l = 1; l < lanes; ++l) EXPECT_EQ(std::memcmp(&y, reinterpret_cast<float const*>(&y) + l, sizeof(float)), 0);
  return y[0];
}

// Largest relative error over [from, to] in steps of `step`.
template <class F, class G>
double error(float from, float to, float step, F const& f, G const& exact) {
  double worst = 0;
  for (float x = from; x <= to; x += step) {
    double const truth = exact(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(at(f, x)) - truth) / std::abs(truth));
  }
  return worst;
}

TEST(Math, exp_is_good_to_two_units_in_the_seventh_digit) {
  auto const f = [](Floats x) { return exp(x); };
  auto const g = [](double x) { return std::exp(x); };
  EXPECT_LT(error(-87.3f, 88.7f, 0.0071f, f, g), 2e-7);
  EXPECT_LT(error(-1e-3f, 1e-3f, 1.7e-7f, f, g), 2e-7);
}

TEST(Math, exp_has_the_right_ends) {
  auto const f = [](Floats x) { return exp(x); };
  EXPECT_EQ(at(f, 0.f), 1.f);
  EXPECT_EQ(at(f, -inf), 0.f);
  EXPECT_EQ(at(f, -104.5f), 0.f);
  EXPECT_EQ(at(f, -3e38f), 0.f);
  EXPECT_NEAR(at(f, -100.f), std::exp(-100.f), 1.5e-45);
  EXPECT_EQ(at(f, inf), inf);
  EXPECT_EQ(at(f, 89.f), inf);
  EXPECT_NEAR(at(f, 88.72f), std::exp(88.72f), 1e32);
  EXPECT_TRUE(std::isnan(at(f, nan)));
}

TEST(Math, exp_bounded_is_as_good_in_its_range_and_passes_a_nan_on) {
  auto const f = [](Floats x) { return exp_bounded(x); };
  EXPECT_LT(error(-87.2f, 88.3f, 0.0071f, f, [](double x) { return std::exp(x); }), 2e-7);
  EXPECT_EQ(at(f, 0.f), 1.f);
  EXPECT_LT(at(f, -inf), 1.3e-38f);
  EXPECT_GE(at(f, -3e38f), 0.f);
  EXPECT_TRUE(std::isnan(at(f, nan)));
  EXPECT_TRUE(std::isnan(at(f, -nan)));
}

TEST(Math, log_is_good_to_two_units_in_the_seventh_digit) {
  auto const f = [](Floats x) { return log(x); };
  auto const g = [](double x) { return std::log(x); };
  EXPECT_LT(error(1.5f, 3e4f, 0.37f, f, g), 2e-7);
  EXPECT_LT(error(1e-30f, 0.7f, 3.1e-5f, f, g), 2e-7);
  EXPECT_LT(error(0.9f, 0.9999f, 1.3e-6f, f, g), 3e-7);
  EXPECT_NEAR(at(f, 3e38f), std::log(3e38f), 1e-5);
}

TEST(Math, log_has_the_right_ends) {
  auto const f = [](Floats x) { return log(x); };
  EXPECT_EQ(at(f, 1.f), 0.f);
  EXPECT_EQ(at(f, 0.f), -inf);
  EXPECT_EQ(at(f, inf), inf);
  EXPECT_TRUE(std::isnan(at(f, -1.f)));
  EXPECT_TRUE(std::isnan(at(f, nan)));
}

TEST(Math, sqrt_is_correctly_rounded) {
  for (float x = 0.1f; x < 100.f; x += 0.7f) EXPECT_EQ(at([](Floats v) { return sqrt(v); }, x), std::sqrt(x));
}

TEST(Math, gelu_keeps_relative_accuracy_where_the_textbook_form_cancels) {
  auto const exact = [](double z) { return z / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (z + 0.044715 * z * z * z))); };
  EXPECT_LT(error(
                -5.f, -0.01f, 0.0013f, [](Floats z) { return gelu(z); }, exact),
            1e-5);
  EXPECT_LT(error(
                0.01f, 12.f, 0.0013f, [](Floats z) { return gelu(z); }, exact),
            1e-6);
}

TEST(Math, bf16_rounds_to_nearest_even) {
  auto const round = [](float x) { return to_float(Bf16{to_bf16(splat(x))[0]}); };
  EXPECT_EQ(round(1.f + 1.f / 256), 1.f);              // half way: to the even 1
  EXPECT_EQ(round(1.f + 3.f / 256), 1.f + 4.f / 256);  // half way: to the even 1 + 2/128
  EXPECT_EQ(round(1.f + 1.01f / 256), 1.f + 2.f / 256);
  EXPECT_EQ(round(3.4e38f), inf);
  EXPECT_EQ(round(-inf), -inf);
  EXPECT_TRUE(std::isnan(round(nan)));
}

TEST(Math, sums_and_partial_vectors_cover_every_length) {
  float x[5 * lanes];
  for (int i = 0; i < 5 * lanes; ++i) x[i] = static_cast<float>(i + 1);
  for (int n = 0; n <= 5 * lanes; ++n) {
    EXPECT_EQ(sum_vectors(n, [&](std::int64_t i, auto part) { return load(x + i, part); }), float(n * (n + 1) / 2));
  }
}

}  // namespace
}  // namespace lamina::kernels::detail
