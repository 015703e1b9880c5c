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

INSTANTIATE_TEST_SUITE_P(worlds, GoldenPlan, ::testing::Values(1, 2, 3, 1024));

}  // namespace
}  // namespace lamina::plan
