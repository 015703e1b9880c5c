#include "lamina/base/text.hpp"

#include <gmock/gmock.h>

#include <algorithm>

#include "lamina/base/units.hpp"
#include "plan/detail/sections.hpp"
#include "support/errors.hpp"
#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using test::PlanCase;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// The first line that begins with these words, blanks squeezed.
std::string row(std::string const& text, std::string const& words) {
  for (auto const& line : split(text, '\n')) {
    std::string squeezed;
    for (char const c : trim(line)) {
      if (c != ' ' || squeezed.back() != ' ') squeezed += c;
    }
    if (squeezed.starts_with(words)) return squeezed;
  }
  return "";
}

/// 2 replicas of 3 stages on 2 tensor-parallel ranks each.
PlanCase cube() {
  PlanCase c{.world = 12, .micro = 1, .global = 8, .layers = 3};
  c.tp = 2, c.pp = 3;
  return c;
}

TEST(PlanText, writes_many_ranks_in_few_words) {
  auto const list = [](std::vector<int> const& ranks) { return rank_list(ranks); };
  EXPECT_EQ(list({}), "");
  EXPECT_EQ(list({7}), "7");
  EXPECT_EQ(list({0, 8}), "0 8");
  EXPECT_EQ(list({0, 1, 2, 9}), "0-2 9");
  EXPECT_EQ(list({1, 9, 17, 25}), "1-25 by 8");
  std::vector<int> blocks;
  for (int r = 0; r < 1024; ++r) {
    if (r % 64 < 8) blocks.push_back(r);
  }
  EXPECT_EQ(list(blocks), "0-7 64-71 128-135 ... 960-967 (128 ranks)");
}

TEST(PlanText, shows_each_layer_at_its_stage_and_ranks) {
  auto const out = to_text(*test::make_plan(cube()));
  EXPECT_THAT(row(out, "embed "), HasSubstr(" 768 cpu 0 0-3 dp=shard(0) tp=partial(sum) "));
  EXPECT_THAT(row(out, "blocks.2.mlp "), HasSubstr(" 2160 cpu 2 8-11 dp=shard(0) tp=shard(1) "));
  EXPECT_THAT(row(out, "head "), HasSubstr(" cpu 2 8-11 "));
}

TEST(PlanText, lists_the_ranks_of_every_group) {
  auto const out = to_text(*test::make_plan(cube()));
  EXPECT_EQ(row(out, "tp "), "tp 2") << "of the mesh";
  EXPECT_THAT(out, HasSubstr("{0-1} {2-3} {4-5} {6-7} {8-9} {10-11}"));
  EXPECT_EQ(row(out, "dp dp "), "dp dp mpi {0 2} {1 3} {4 6} {5 7} {8 10} {9 11}");
  EXPECT_EQ(row(out, "pp.0>1 pp "), "pp.0>1 pp mpi {0 4} {1 5} {2 6} {3 7}");
  EXPECT_EQ(row(out, "tie.0+2 "), "tie.0+2 pp mpi {0 8} {1 9} {2 10} {3 11}");
}

TEST(PlanText, draws_the_pipeline_with_its_bubbles) {
  auto const out = to_text(*test::make_plan(cube()));
  EXPECT_THAT(out, HasSubstr("pipeline: 1f1b, 3 stages at 3 coordinates, 4 micro-batches"));
  EXPECT_THAT(row(out, "pp 0 (stage 0)"), HasSubstr("|F0"));
  EXPECT_THAT(row(out, "pp 2 (stage 2)"), HasSubstr("|..."));
  EXPECT_THAT(out, HasSubstr("in flight at most 3, 2, 1\n"));
  EXPECT_THAT(to_text(*test::make_plan({.world = 2})), Not(HasSubstr("pipeline")));
}

TEST(PlanText, says_what_each_kind_of_rank_needs) {
  auto const plan = test::make_plan(cube());
  auto const out = to_text(*plan);
  std::int64_t most = 0;
  for (std::size_t k = 0; k < plan->kinds.size(); ++k) {
    auto const ranks = text(4 * k, "-", 4 * k + 3, " ", k, " ");
    EXPECT_THAT(row(out, ranks), HasSubstr(text(kind_bytes(*plan, k), " ", human_bytes(kind_bytes(*plan, k)))));
    most = std::max(most, kind_bytes(*plan, k));
  }
  EXPECT_THAT(out, HasSubstr(text("peak: ", most, " bytes a rank")));
}

TEST(PlanText, of_a_thousand_ranks_is_no_longer_than_its_layers) {
  PlanCase c{.world = 1024, .micro = 1, .global = 128, .layers = 4, .heads = 8};
  c.hidden = 32, c.tp = 8, c.pp = 2, c.zero = 1;
  auto const plan =
      draft(test::plan_graphs(c, Purpose::train), test::plan_config(c), c.world, test::plan_machine(c), Purpose::train);
  auto const out = to_text(*plan);
  EXPECT_LT(std::count(out.begin(), out.end(), '\n'), 110);
  EXPECT_LT(out.size(), 12'000u);
}

TEST(MemoryLimit, names_the_ranks_that_are_above_it_and_what_helps_these) {
  auto const c = cube();
  auto const plan = test::make_plan(c);
  std::vector<std::int64_t> peaks;
  for (std::size_t k = 0; k < plan->kinds.size(); ++k) peaks.push_back(kind_bytes(*plan, k));
  auto const fullest = std::max_element(peaks.begin(), peaks.end()) - peaks.begin();
  ASSERT_EQ(std::count(peaks.begin(), peaks.end(), peaks[static_cast<std::size_t>(fullest)]), 1);
  auto config = test::plan_config(c);
  auto const refusal = [&](std::int64_t limit) {
    config.memory.limit = limit;
    return test::error_of(
        [&] { make(test::plan_graphs(c, Purpose::train), config, c.world, test::plan_machine(c), Purpose::train); });
  };
  auto const one = refusal(peaks[static_cast<std::size_t>(fullest)] - 1);
  EXPECT_EQ(one.code, "plan.memory.limit");
  EXPECT_EQ(one.subject, text("ranks ", 4 * fullest, "-", 4 * fullest + 3, " (pp coordinate ", fullest,
                              ") need more memory than a rank may have"));
  EXPECT_THAT(one.fix, AllOf(HasSubstr(text("fewer layers at pp coordinate ", fullest, " (pipeline.stages; ")),
                             HasSubstr("parallel.zero = 1"), HasSubstr("`lamina plan --fit`")));
  auto const all = refusal(1 << 10);
  EXPECT_THAT(all.subject, HasSubstr(", and 8 other ranks, need more memory"));
  EXPECT_THAT(all.fix, Not(HasSubstr("fewer layers")));
}

}  // namespace
}  // namespace lamina::plan
