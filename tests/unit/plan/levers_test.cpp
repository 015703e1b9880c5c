#include "lamina/plan/levers.hpp"

#include <gmock/gmock.h>

#include "lamina/base/units.hpp"
#include "plan/detail/plan.hpp"
#include "plan/detail/variants.hpp"
#include "support/errors.hpp"
#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using test::PlanCase;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Wide enough for activations to count beside what kernels need for themselves.
PlanCase roomy(std::int64_t world = 1) {
  return {.world = world, .micro = 4, .global = 8 * world, .layers = 2, .hidden = 32, .heads = 4, .tokens = 256};
}

Again again_of(PlanCase const& c) {
  return {.world = c.world,
          .graphs =
              [c](config::RunConfig const& config) {
                auto build = [&](models::Mode mode) {
                  auto const compute = config.precision.compute == "bf16" ? DType::bf16 : DType::f32;
                  return models::build(config.model,
                                       {mode, config.mesh.dp * config.batch.micro, c.tokens, c.tokens, compute});
                };
                Graphs g;
                g.train = build(models::Mode::train), g.eval = build(models::Mode::eval);
                return g;
              },
          .machine = [c](config::RunConfig const&) { return test::plan_machine(c); }};
}

std::int64_t peak_of(PlanCase const& c) { return peak_bytes(*test::make_plan(c)); }

TEST(Levers, have_the_peaks_of_the_plans_with_these_settings) {
  auto c = roomy(4);
  c.tp = 2;
  auto const all = levers(test::plan_config(c), again_of(c));
  std::map<std::string, std::int64_t> peaks;
  for (auto const& l : all) {
    EXPECT_EQ(l.refused, "") << l.setting;
    EXPECT_GT(l.step_ns, 0);
    peaks[l.setting] = l.peak_bytes;
  }
  auto const with = [&](auto change) {
    auto other = c;
    change(other);
    return peak_of(other);
  };
  EXPECT_EQ(all.front().setting, "as it is");
  EXPECT_EQ(peaks["as it is"], peak_of(c));
  EXPECT_EQ(peaks["memory.recompute = \"full\""], with([](auto& o) { o.recompute = "full"; }));
  EXPECT_EQ(peaks["memory.recompute = \"selective\""], with([](auto& o) { o.recompute = "selective"; }));
  EXPECT_EQ(peaks["batch.micro = 2"], with([](auto& o) { o.micro = 2; }));
  EXPECT_EQ(peaks["batch.micro = 1"], with([](auto& o) { o.micro = 1; }));
  EXPECT_EQ(peaks["parallel.sequence_parallel = false"], with([](auto& o) { o.sequence_parallel = false; }));
  EXPECT_EQ(peaks["parallel.zero = 1"], with([](auto& o) { o.zero = 1; }));
  EXPECT_EQ(peaks["parallel.zero = 3"], with([](auto& o) { o.zero = 3; }));
  EXPECT_EQ(peaks["precision.compute = \"bf16\""], with([](auto& o) { o.bf16 = true; }));
  EXPECT_FALSE(peaks.contains("memory.recompute = \"none\"")) << "that is how it is";
  EXPECT_FALSE(peaks.contains("parallel.zero = 0"));
  EXPECT_EQ(all.size(), 10u);
}

TEST(Levers, that_are_not_possible_say_why) {
  PlanCase c{.world = 2, .micro = 2, .global = 4, .layers = 3};
  c.pp = 2, c.schedule = "interleaved", c.chunks = 2;
  auto again = again_of(c);
  auto config = test::plan_config(c);
  config.batch.global = 10, config.batch.micro = 5;
  auto const plan = make(again.graphs(config), config, 2, again.machine(config), Purpose::train);
  // 10 samples in micro-batches of 2 are 5, which two coordinates cannot take in turns.
  EXPECT_THAT(levers_text(*plan, config, again), HasSubstr("not possible: pipeline.schedule = \"interleaved\""));
}

TEST(Levers, of_a_run_too_large_to_be_planned_often_are_left_out) {
  PlanCase c{.micro = 1, .global = 1024, .layers = 2};
  auto const plan =
      draft(test::plan_graphs(c, Purpose::train), test::plan_config(c), 1, test::plan_machine(c), Purpose::train);
  EXPECT_FALSE(is_cheap_again(*plan));
  EXPECT_THAT(levers_text(*plan, test::plan_config(c), again_of(c)), HasSubstr("other settings: not planned"));
  EXPECT_TRUE(is_cheap_again(*test::make_plan({})));
}

TEST(Fit, changes_nothing_that_fits_and_says_what_more_would) {
  auto const c = roomy();
  auto const f = fit(test::plan_config(c), again_of(c), std::int64_t{1} << 40);
  EXPECT_THAT(f.changes, IsEmpty());
  EXPECT_EQ(f.peak_bytes, peak_of(c));
  EXPECT_EQ(f.largest_micro, 8);
  EXPECT_THAT(to_text(f, std::int64_t{1} << 40), HasSubstr("fits as it is"));
}

TEST(Fit, takes_one_change_where_one_is_enough_the_fastest_of_those) {
  auto const c = roomy();
  auto small = c;
  small.micro = 2;
  auto const limit = peak_of(small);
  auto const f = fit(test::plan_config(c), again_of(c), limit);
  ASSERT_EQ(f.changes.size(), 1u);
  EXPECT_LE(f.peak_bytes, limit);
  // No other single change that fits is faster.
  for (auto const& l : levers(test::plan_config(c), again_of(c))) {
    bool const same_result = l.setting.find("precision") == std::string::npos;
    if (same_result && l.refused.empty() && l.peak_bytes <= limit) {
      EXPECT_GE(l.step_ns, f.step_ns) << l.setting;
    }
  }
  EXPECT_THAT(to_text(f, limit), HasSubstr("fits with one change: "));
}

TEST(Fit, combines_changes_where_none_alone_is_enough) {
  auto const c = roomy(2);
  std::int64_t least = peak_of(c);
  for (auto const& l : levers(test::plan_config(c), again_of(c))) {
    if (l.setting.find("precision") == std::string::npos) least = std::min(least, l.peak_bytes);
  }
  auto const f = fit(test::plan_config(c), again_of(c), least - 1);
  EXPECT_EQ(f.changes.size(), 2u);
  EXPECT_LT(f.peak_bytes, least);
}

TEST(Fit, divides_the_ranks_otherwise_when_settings_alone_do_not_help) {
  auto c = roomy(4);
  c.global = 16, c.micro = 1, c.zero = 3, c.recompute = "full", c.hidden = 128, c.tokens = 64;
  auto cut = c;
  cut.tp = 4;
  auto const limit = peak_of(cut);
  ASSERT_LT(limit, peak_of(c));
  auto const f = fit(test::plan_config(c), again_of(c), limit);
  EXPECT_THAT(f.changes, Contains(HasSubstr("mesh.dp")));
  EXPECT_LE(f.peak_bytes, limit);
}

TEST(Fit, names_the_ranks_with_which_it_would_fit_where_no_setting_helps) {
  PlanCase c{.micro = 1, .global = 4, .layers = 8, .hidden = 64, .recompute = "full"};
  auto cut = c;
  cut.world = 4, cut.pp = 4;
  auto const limit = peak_of(cut);
  auto const e = test::error_of([&] { fit(test::plan_config(c), again_of(c), limit); });
  ASSERT_EQ(e.code, "plan.memory.fit");
  EXPECT_THAT(e.fix, HasSubstr("it fits with --ranks 4 and mesh.dp = 1, mesh.tp = "));
}

TEST(Fit, fails_with_5_when_nothing_does) {
  auto const c = roomy(2);
  auto const e = test::error_of([&] { fit(test::plan_config(c), again_of(c), 1 << 16); });
  EXPECT_EQ(e.code, "plan.memory.fit");
  EXPECT_EQ(exit_code_of(e.code), ExitCode::memory);
  EXPECT_THAT(e.found, HasSubstr("the leanest needs "));
  EXPECT_THAT(e.expected, HasSubstr("64.0 KiB"));
}

TEST(Fit, of_a_run_that_cannot_be_planned_is_that_run_s_error) {
  PlanCase c{.world = 2};
  c.tp = 2, c.heads = 3, c.hidden = 24;
  EXPECT_EQ(test::error_of([&] { fit(test::plan_config(c), again_of(c), 1 << 30); }).code,
            test::error_of([&] { test::make_plan(c); }).code);
}

TEST(Changes, are_those_that_the_run_can_make) {
  PlanCase c{.world = 8, .micro = 5, .global = 20};
  c.pp = 2, c.tp = 2, c.sequence_parallel = false, c.schedule = "gpipe", c.zero = 1;
  std::vector<std::string> settings;
  for (auto const& change : memory_changes(test::plan_config(c))) settings.push_back(change.setting);
  EXPECT_THAT(settings, ElementsAre("parallel.sequence_parallel = true", "pipeline.schedule = \"1f1b\"",
                                    "parallel.zero = 2", "parallel.zero = 3", "batch.micro = 2", "batch.micro = 1",
                                    "memory.recompute = \"selective\"", "memory.recompute = \"full\""));
  settings.clear();
  for (auto const& change : mesh_changes(test::plan_config(c), 8)) settings.push_back(change.setting);
  EXPECT_THAT(settings, ElementsAre("mesh.dp = 1, mesh.tp = 2, mesh.pp = 4", "mesh.dp = 1, mesh.tp = 4, mesh.pp = 2"));
  EXPECT_THAT(memory_changes(test::plan_config({.micro = 1})), ::testing::SizeIs(2));  // recomputation alone
}

TEST(Changes, of_one_setting_are_not_combined) {
  std::vector<Change> const changes{{.setting = "a1", .key = Change::schedule},
                                    {.setting = "a2", .key = Change::schedule},
                                    {.setting = "b", .key = Change::zero}};
  EXPECT_EQ(combinations(changes, 1).size(), 3u);
  EXPECT_THAT(combinations(changes, 2), ElementsAre(ElementsAre(0, 2), ElementsAre(1, 2)));
  EXPECT_THAT(combinations(changes, 3), IsEmpty());
}

}  // namespace
}  // namespace lamina::plan
