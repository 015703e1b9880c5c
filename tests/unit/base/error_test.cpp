#include "lamina/base/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lamina {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

ErrorInfo sample(std::string code = "plan.shard.divisibility") {
  return {.code = std::move(code),
          .subject = "blocks.0.attn: cannot split the heads",
          .found = "model.heads = 40, mesh.tp = 16",
          .expected = "mesh.tp divides model.heads",
          .fix = "take mesh.tp from {1, 2, 4}"};
}

TEST(Error, reads_as_five_lines_that_name_everything) {
  try {
    fail(sample());
    FAIL() << "fail must throw";
  } catch (Error const& e) {
    EXPECT_THAT(e.what(),
                MatchesRegex("error\\[plan\\.shard\\.divisibility\\]: blocks\\.0\\.attn: cannot split the heads\n"
                             "  found:    model\\.heads = 40, mesh\\.tp = 16\n"
                             "  expected: mesh\\.tp divides model\\.heads\n"
                             "  fix:      take mesh\\.tp from \\{1, 2, 4\\}\n"
                             "  at:       tests/unit/base/error_test\\.cpp:[0-9]+"));
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    EXPECT_EQ(e.info().found, "model.heads = 40, mesh.tp = 16");
    EXPECT_THAT(e.place(), MatchesRegex("tests/unit/base/error_test\\.cpp:[0-9]+"));
    Error const again(e.info(), e.place());  // as another rank throws it
    EXPECT_STREQ(again.what(), e.what());
  }
}

TEST(Error, the_longest_prefix_of_a_code_decides_the_exit_code) {
  EXPECT_EQ(exit_code_of("config.key.unknown"), ExitCode::usage);
  EXPECT_EQ(exit_code_of("plan.shard.divisibility"), ExitCode::usage);
  EXPECT_EQ(exit_code_of("plan.memory.limit"), ExitCode::memory);
  EXPECT_EQ(exit_code_of("plan.mismatch.hash"), ExitCode::environment);
  EXPECT_EQ(exit_code_of("checkpoint.load.none"), ExitCode::bad_input);
  EXPECT_EQ(exit_code_of("checkpoint.save.space"), ExitCode::file_system);
  EXPECT_EQ(exit_code_of("comm.peer_lost"), ExitCode::peer_lost);
  EXPECT_EQ(exit_code_of("train.numerics.loss"), ExitCode::numerical);
  EXPECT_EQ(exit_code_of("planning"), ExitCode::internal) << "a prefix ends at its dot";
  EXPECT_EQ(exit_code_of(""), ExitCode::internal);
}

TEST(Error, several_problems_become_one_message_with_all_of_them) {
  EXPECT_NO_THROW(fail_if_any({}));
  try {
    fail_if_any({sample("config.key.unknown"), sample("config.key.type")});
    FAIL() << "two problems must throw";
  } catch (Error const& e) {
    EXPECT_EQ(e.info().code, "config.key.unknown");
    EXPECT_THAT(e.what(), HasSubstr("2 problems"));
    EXPECT_THAT(e.what(), HasSubstr("[config.key.unknown]"));
    EXPECT_THAT(e.what(), HasSubstr("[config.key.type]"));
  }
  try {
    fail_if_any({sample()});
    FAIL() << "one problem must throw";
  } catch (Error const& e) {
    EXPECT_EQ(e.info().subject, sample().subject) << "a single problem is not wrapped";
  }
}

}  // namespace
}  // namespace lamina
