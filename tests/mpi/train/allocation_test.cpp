#include <gtest/gtest.h>

#include "support/allocations.hpp"
#include "support/kernel_thread.hpp"
#include "support/train_run.hpp"

namespace lamina {
namespace {

class Training : public ::testing::TestWithParam<char const*> {};

TEST_P(Training, allocates_nothing_in_a_step_after_the_first_on_any_thread) {
  if (!test::counts_allocations()) GTEST_SKIP() << "a sanitizer has its own malloc";
  auto config = test::small_run();
  config.model.dropout = 0.1;
  config.precision.compute = GetParam();
  test::FormulaTokens const source(29, config.model.context, config.model.vocab);
  test::TrainRun run(config, comm::Communicator::world(), source);
  run.step();
  std::int64_t count = 0;
  std::string places;
  {
    test::Allocations allocations;
    for (int i = 0; i < 5; ++i) run.step();
    count = allocations.count(), places = allocations.places();
  }
  EXPECT_EQ(count, 0) << places;
}

INSTANTIATE_TEST_SUITE_P(in, Training, ::testing::Values("f32", "bf16"), [](auto const& p) { return p.param; });

}  // namespace
}  // namespace lamina
