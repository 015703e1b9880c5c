#include "lamina/train/schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace lamina::train {
namespace {

config::RunConfig schedule(char const* kind, std::int64_t warmup, std::int64_t decay) {
  config::RunConfig c;
  c.optimizer.lr = 1.0;
  c.lr_schedule = {.kind = kind, .warmup_steps = warmup, .decay_steps = decay, .min = 0.1};
  return c;
}

TEST(LearningRate, rises_linearly_to_the_end_of_warm_up) {
  auto const c = schedule("cosine", 10, 110);
  EXPECT_DOUBLE_EQ(learning_rate(c, 1), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(c, 5), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(c, 10), 1.0);
}

TEST(LearningRate, follows_half_a_cosine_down_to_min) {
  auto const c = schedule("cosine", 10, 110);
  EXPECT_NEAR(learning_rate(c, 60), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate(c, 35), 0.1 + 0.9 * 0.5 * (1 + std::cos(std::acos(-1.0) * 0.25)), 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate(c, 110), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(c, 5000), 0.1);
}

TEST(LearningRate, can_fall_in_a_line_or_stay) {
  EXPECT_NEAR(learning_rate(schedule("linear", 0, 100), 25), 0.1 + 0.9 * 0.75, 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate(schedule("constant", 4, 100), 99999), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule("constant", 4, 100), 2), 0.5);
}

TEST(LearningRate, reaches_its_peak_in_a_warm_up_as_long_as_the_decay) {
  auto const c = schedule("cosine", 10, 10);
  EXPECT_DOUBLE_EQ(learning_rate(c, 9), 0.9);
  EXPECT_DOUBLE_EQ(learning_rate(c, 10), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(c, 11), 0.1);
}

}  // namespace
}  // namespace lamina::train
