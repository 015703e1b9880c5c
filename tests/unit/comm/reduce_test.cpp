#include "comm/detail/reduce.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace lamina {
namespace {

using comm::Reduce;
using comm::detail::combine;

float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

std::uint16_t sum_bf16(std::vector<std::uint16_t> values, Reduce op = Reduce::sum) {
  std::vector<void const*> parts;
  for (auto const& v : values) parts.push_back(&v);
  std::uint16_t result = 0;
  combine(DType::bf16, op, &result, parts, 1);
  return result;
}

TEST(Combine, adds_from_left_to_right) {
  float const a = 1e8f, b = -1e8f, c = 1;  // (a + b) + c = 1, a + (b + c) = 0
  std::vector<void const*> const parts{&a, &b, &c};
  float sum = 0;
  combine(DType::f32, Reduce::sum, &sum, parts, 1);
  EXPECT_EQ(sum, 1);
}

TEST(Combine, handles_every_count_around_its_block_and_writes_over_a_part) {
  for (std::int64_t const count : {0, 1, 1023, 1024, 1025, 5000}) {
    std::vector<double> a(count + 1, 1.5), b(count + 1, 2.25);
    std::vector<void const*> const parts{a.data(), b.data()};
    combine(DType::f64, Reduce::sum, a.data(), parts, count);
    for (std::int64_t i = 0; i < count; ++i) EXPECT_EQ(a[i], 3.75);
    EXPECT_EQ(a[count], 1.5) << "beyond the end";
  }
}

TEST(Combine, takes_any_number_of_parts) {
  for (std::int64_t const count : {1, 1023, 1025, 2051}) {
    for (std::size_t n = 1; n <= 5; ++n) {
      std::vector<std::vector<float>> values(n, std::vector<float>(count));
      std::vector<void const*> parts;
      for (std::size_t p = 0; p < n; ++p) {
        for (std::int64_t i = 0; i < count; ++i)
          values[p][i] = static_cast<float>(i % 31) / 7 + static_cast<float>(p) / 3;
        parts.push_back(values[p].data());
      }
      std::vector<float> sum(count), mean(count), largest(count), last = values[n - 1];
      combine(DType::f32, Reduce::mean, mean.data(), parts, count);
      combine(DType::f32, Reduce::max, largest.data(), parts, count);
      for (std::int64_t i = 0; i < count; ++i) {
        sum[i] = values[0][i];
        for (std::size_t p = 1; p < n; ++p) sum[i] += values[p][i];
      }
      combine(DType::f32, Reduce::sum, values[n - 1].data(), parts, count);  // over a part
      for (std::int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(values[n - 1][i], sum[i]) << n << " parts, " << i << " of " << count;
        ASSERT_EQ(mean[i], sum[i] / static_cast<float>(n));
        ASSERT_EQ(largest[i], last[i]);
      }
    }
  }
}

TEST(Combine, sums_bf16_in_f32_and_rounds_once_to_nearest_even) {
  std::uint16_t const one = 0x3f80, tiny = 0x3b00;       // 1, 1/512: a quarter of the last bit of 1
  EXPECT_EQ(sum_bf16({one, tiny}), one);                 // below half
  EXPECT_EQ(sum_bf16({one, tiny, tiny}), one);           // half: to even
  EXPECT_EQ(sum_bf16({one, tiny, tiny, tiny}), 0x3f81);  // above half; rounding each step would stay at 1
  EXPECT_EQ(sum_bf16({0x3f81, tiny, tiny}), 0x3f82);     // half: to even, upwards
  EXPECT_EQ(sum_bf16({0x7f7f, 0x7f7f}), 0x7f80);         // overflow is infinity
  EXPECT_TRUE(std::isnan(from_bf16(sum_bf16({0x7f80, 0xff80}))));
  EXPECT_TRUE(std::isnan(from_bf16(sum_bf16({0x7f81, one}))));
}

TEST(Combine, divides_for_the_mean) {
  float const a = 1, b = 2, c = 2;
  std::vector<void const*> const parts{&a, &b, &c};
  float mean = 0;
  combine(DType::f32, Reduce::mean, &mean, parts, 1);
  EXPECT_EQ(mean, 5.0f / 3.0f);
}

TEST(Combine, lets_nan_win_a_maximum_wherever_it_is) {
  double const nan = std::numeric_limits<double>::quiet_NaN(), one = 1, two = 2;
  for (auto const& parts : {std::vector<void const*>{&nan, &one}, {&one, &nan}, {&one, &nan, &two}}) {
    double max = 0;
    combine(DType::f64, Reduce::max, &max, parts, 1);
    EXPECT_TRUE(std::isnan(max));
  }
}

TEST(Combine, keeps_all_bits_of_integers) {
  std::int64_t const a = (std::int64_t{1} << 62) + 1, b = 2;
  std::vector<void const*> const parts{&a, &b};
  std::int64_t sum = 0;
  combine(DType::i64, Reduce::sum, &sum, parts, 1);
  EXPECT_EQ(sum, (std::int64_t{1} << 62) + 3);
}

}  // namespace
}  // namespace lamina
