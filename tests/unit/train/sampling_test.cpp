#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "lamina/train/generate.hpp"

namespace lamina::train {
namespace {

std::vector<double> frequencies(std::vector<float> const& logits, Sampling const& s, int draws) {
  std::vector<double> f(logits.size());
  for (int i = 0; i < draws; ++i) f[static_cast<std::size_t>(sample(logits, s, i))] += 1.0 / draws;
  return f;
}

TEST(Sample, at_temperature_zero_takes_the_first_of_the_likeliest) {
  std::vector<float> const logits{1, 3, 3, 2};
  EXPECT_EQ(sample(logits, {.temperature = 0, .top_k = 0, .seed = 5}, 9), 1);
}

TEST(Sample, draws_as_the_softmax_says) {
  std::vector<float> const logits{0, std::log(2.0f), std::log(5.0f)};
  auto const f = frequencies(logits, {.temperature = 1, .top_k = 0, .seed = 3}, 20000);
  EXPECT_NEAR(f[0], 0.125, 0.01);
  EXPECT_NEAR(f[1], 0.25, 0.01);
  EXPECT_NEAR(f[2], 0.625, 0.01);
  auto const cold = frequencies(logits, {.temperature = 0.5, .top_k = 0, .seed = 3}, 20000);
  EXPECT_NEAR(cold[2], 25.0 / 30, 0.01);
}

TEST(Sample, with_top_k_never_leaves_the_k_likeliest) {
  std::vector<float> const logits{0, 1, 0.5f, 1, -3};
  auto const f = frequencies(logits, {.temperature = 1, .top_k = 2, .seed = 1}, 5000);
  EXPECT_NEAR(f[1], 0.5, 0.03);
  EXPECT_NEAR(f[3], 0.5, 0.03);
  EXPECT_EQ(f[0] + f[2] + f[4], 0);
  EXPECT_EQ(frequencies(logits, {.temperature = 1, .top_k = 99, .seed = 1}, 100),
            frequencies(logits, {.temperature = 1, .top_k = 0, .seed = 1}, 100));
}

TEST(Sample, repeats_with_the_same_seed_and_differs_with_another) {
  std::vector<float> const logits(100, 0.0f);
  int same = 0;
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(sample(logits, {.temperature = 1, .top_k = 0, .seed = 7}, i),
              sample(logits, {.temperature = 1, .top_k = 0, .seed = 7}, i));
    same += sample(logits, {.temperature = 1, .top_k = 0, .seed = 7}, i) ==
            sample(logits, {.temperature = 1, .top_k = 0, .seed = 8}, i);
  }
  EXPECT_LT(same, 20);
}

}  // namespace
}  // namespace lamina::train
