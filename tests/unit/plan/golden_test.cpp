#include "support/golden.hpp"

#include <gtest/gtest.h>

#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using test::PlanCase;

/// Two micro-batches of one sample per replica, whatever the world.
PlanCase of_world(std::int64_t world) {
  return {.world = world, .micro = 1, .global = 2 * world, .dropout = 0.1, .bf16 = true, .bucket = 8000};
}

class GoldenPlan : public ::testing::TestWithParam<int> {};

TEST_P(GoldenPlan, prints_as_before) {
  auto const plan = test::make_plan(of_world(GetParam()));
  test::expect_golden(to_text(*plan) + "\n" + memory_text(*plan, 0), text("plan/gpt_dp", GetParam(), ".plan.txt"));
}

TEST_P(GoldenPlan, lowers_to_the_same_program_as_before) {
  auto c = of_world(GetParam());
  c.layers = 1, c.dropout = 0, c.bf16 = false;
  auto const plan = test::make_plan(c);
  // The last rank's: for several ranks one that does not own the norm.
  auto const set = lower(*plan, GetParam() - 1);
  test::expect_golden(program::print(*set.shape), text("plan/gpt_dp", GetParam(), ".program.txt"));
}

/// Two replicas of two stages on two tensor-parallel ranks each.
PlanCase of_schedule(std::string const& schedule) {
  PlanCase c{.world = 8, .micro = 1, .global = 8, .layers = 3, .bucket = 8000};
  c.tp = 2, c.pp = 2, c.schedule = schedule, c.chunks = schedule == "interleaved" ? 2 : 1;
  return c;
}

class GoldenSchedule : public ::testing::TestWithParam<char const*> {};

TEST_P(GoldenSchedule, prints_as_before) {
  auto const plan = test::make_plan(of_schedule(GetParam()));
  test::expect_golden(to_text(*plan) + "\n" + memory_text(*plan, 0), text("plan/gpt_2x2x2_", GetParam(), ".plan.txt"));
}

TEST(GoldenProgram, of_a_last_stage_is_as_before) {
  auto c = of_schedule("1f1b");
  c.layers = 1, c.global = 4, c.zero = 1;
  test::expect_golden(program::print(*lower(*test::make_plan(c), 7).shape), "plan/gpt_2x2x2_1f1b.program.txt");
}

INSTANTIATE_TEST_SUITE_P(schedules, GoldenSchedule, ::testing::Values("gpipe", "1f1b", "interleaved", "zb-h1"));
INSTANTIATE_TEST_SUITE_P(worlds, GoldenPlan, ::testing::Values(1, 2, 3, 1024));

}  // namespace
}  // namespace lamina::plan
