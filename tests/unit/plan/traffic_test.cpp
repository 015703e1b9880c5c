#include "plan/detail/traffic.hpp"

#include <gmock/gmock.h>

#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using program::StepKind;
using test::PlanCase;
using ::testing::HasSubstr;

/// Not verified: that is for other tests.
std::shared_ptr<Plan const> planned(PlanCase const& c) {
  return draft(test::plan_graphs(c, Purpose::train), test::plan_config(c), c.world, test::plan_machine(c),
               Purpose::train);
}

Traffic find(Plan const& plan, std::string const& group, StepKind kind) {
  for (auto const& t : traffic(plan)) {
    if (t.group == group && t.kind == kind) return t;
  }
  return {};
}

TEST(Traffic, of_replicas_is_the_gradients_there_and_back) {
  auto const plan = test::make_plan({.world = 2, .global = 8});
  std::int64_t gradients = 0;
  for (auto const& b : plan->shapes.front()->buffers) gradients += b.role == Role::gradient ? b.spec.bytes() : 0;
  auto const t = find(*plan, "dp", StepKind::all_reduce);
  EXPECT_EQ(t.rank_bytes, gradients);
  EXPECT_EQ(t.bytes, 2 * gradients);
  EXPECT_EQ(t.ranks, 2);
}

TEST(Traffic, between_stages_is_one_activation_a_micro_batch_and_its_gradient) {
  PlanCase c{.world = 12, .micro = 2, .global = 24, .layers = 6};  // 4 replicas of 3 stages, 3 micro-batches
  c.pp = 3;
  auto const plan = test::make_plan(c);
  auto const activation = c.micro * c.tokens * c.hidden * 4;
  for (auto const* link : {"pp.0>1", "pp.1>2", "pp.2>1", "pp.1>0"}) {
    auto const t = find(*plan, link, StepKind::send);
    EXPECT_EQ(t.operations % 3, 0) << link;
    EXPECT_EQ(t.rank_bytes, t.operations * activation) << link;
    EXPECT_EQ(t.bytes, 4 * t.rank_bytes) << link;
  }
  EXPECT_EQ(find(*plan, "pp.0>2", StepKind::send).operations, 0);
  EXPECT_EQ(find(*plan, "tie.0+2", StepKind::all_reduce).ranks, 2);
}

TEST(Traffic, sums_to_all_ranks) {
  PlanCase c{.world = 8, .micro = 1, .global = 4, .layers = 3};
  c.tp = 2, c.pp = 2;
  auto const plan = test::make_plan(c);
  std::int64_t sent = 0;
  for (auto const& set : lower_all(*plan)) {
    for (auto const& p : set.shape->programs) {
      if (p.name != "forward_backward" && p.name != "control" && p.name != "update") continue;
      for (auto const& s : p.steps) {
        if (s.kind == StepKind::send) sent += s.bytes;
        if (!program::is_collective(s.kind)) continue;
        std::int64_t const n = std::ssize(set.binding.members[static_cast<std::size_t>(s.group)]);
        sent += s.kind == StepKind::all_reduce ? (n == 2 ? s.bytes : (n - 1) * s.bytes) : (n - 1) * s.bytes / n;
      }
    }
  }
  std::int64_t all = 0;
  for (auto const& t : traffic(*plan)) all += t.bytes;
  EXPECT_EQ(all, sent);
}

/// What another ZeRO stage would move is what the plan with that stage moves.
TEST(Traffic, of_another_zero_stage_is_foreseen_exactly) {
  struct Case {
    std::int64_t tp, pp;
    std::string schedule;
    bool bf16, tied, packs;
    // Small: the last gradient of an embedding is summed late, its first words are looked up in all replicas' rows.
    std::int64_t bucket = 25 << 20;
    std::int64_t micro_batches = 3;
  };
  for (auto const& [tp, pp, schedule, bf16, tied, packs, bucket, micro_batches] :
       {Case{1, 1, "1f1b", true, true, true}, Case{1, 1, "1f1b", false, false, true},
        Case{2, 1, "1f1b", true, true, false}, Case{1, 2, "zb-h1", true, true, false},
        Case{2, 2, "1f1b", false, true, true}, Case{1, 1, "1f1b", false, true, true, 2000},
        Case{1, 2, "zb-h1", false, false, true, 2000}, Case{2, 1, "1f1b", false, false, true, 2000},
        Case{1, 1, "1f1b", false, false, true, 2000, 1}, Case{1, 2, "1f1b", true, true, true, 2000, 1}}) {
    PlanCase c{.world = 2 * tp * pp,
               .micro = 1,
               .global = 2 * micro_batches,
               .layers = 2,
               .vocab = 300,
               .tied = tied,
               .bf16 = bf16,
               .packs = packs,
               .bucket = bucket};
    c.tp = tp, c.pp = pp, c.schedule = schedule;
    auto const plan = planned(c);
    for (int z = 0; z <= 3; ++z) {
      auto other = c;
      other.zero = z;
      std::int64_t moved = 0;
      for (auto const& t : traffic(*planned(other))) moved += t.group == "dp" ? t.bytes : 0;
      EXPECT_EQ(zero_bytes(*plan, z), moved)
          << tp << pp << schedule << bf16 << bucket << micro_batches << " zero " << z;
    }
  }
}

TEST(Traffic, of_a_better_zero_stage_is_told) {
  PlanCase c{.world = 4, .micro = 1, .global = 16};
  c.zero = 2;
  auto const plan = test::make_plan(c);
  EXPECT_THAT(to_text(*plan), HasSubstr("note: parallel.zero = 1 would move "));
  EXPECT_THAT(to_text(*plan), HasSubstr("less than parallel.zero = 2 does, and take more memory"));
  c.zero = 0;
  EXPECT_THAT(notes_of(*planned(c)), ::testing::IsEmpty());
  c.bf16 = true, c.packs = false;  // what others need of a rank's rows is bf16
  EXPECT_THAT(notes_of(*planned(c)), ::testing::ElementsAre(HasSubstr("parallel.zero = 1 would move")));
  c.zero = 1;
  EXPECT_THAT(notes_of(*planned(c)), ::testing::IsEmpty());
}

}  // namespace
}  // namespace lamina::plan
