#include "lamina/plan/predict.hpp"

#include <gmock/gmock.h>

#include <map>

#include "lamina/tensor/reduction.hpp"
#include "plan/detail/pass.hpp"
#include "plan/detail/timeline.hpp"
#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using program::StepKind;
using test::PlanCase;
using ::testing::HasSubstr;

constexpr MachineModel machine{
    .flops_per_ns = 3, .bytes_per_ns = 2, .kernel_ns = 100, .message_ns = 1000, .link_bytes_per_ns = 1};
/// Communication that costs nothing.
constexpr MachineModel ideal{
    .flops_per_ns = 1, .bytes_per_ns = 1, .kernel_ns = 1, .message_ns = 0, .link_bytes_per_ns = std::int64_t{1} << 60};

/// Not verified: that is for other tests.
std::shared_ptr<Plan const> planned(PlanCase const& c) {
  return draft(test::plan_graphs(c, Purpose::train), test::plan_config(c), c.world, test::plan_machine(c),
               Purpose::train);
}

PlanCase pipeline(std::string schedule, std::int64_t pp, std::int64_t micro_batches) {
  PlanCase c{.world = pp, .micro = 1, .global = micro_batches, .layers = 3};
  c.pp = pp, c.schedule = schedule, c.chunks = schedule == "interleaved" ? 2 : 1;
  return c;
}

TEST(Prediction, takes_the_longer_of_flops_and_bytes_and_the_start_of_a_kernel) {
  EXPECT_EQ(kernel_cost(0, 0, machine), 100);
  EXPECT_EQ(kernel_cost(3000, 10, machine), 100 + 1000);
  EXPECT_EQ(kernel_cost(30, 5000, machine), 100 + 2500);
}

TEST(Prediction, counts_rounds_and_bytes_of_collectives_as_comm_makes_them) {
  auto const cost = [](StepKind kind, std::int64_t bytes, int ranks) {
    return cost_of({.kind = kind, .bytes = bytes}, machine, ranks);
  };
  auto const large = direct_reduction_bytes(4) + 4;
  EXPECT_EQ(cost(StepKind::all_reduce, large, 4), 2 * 1000 + 2 * 3 * large / 4);
  EXPECT_EQ(cost(StepKind::all_reduce, 400, 4), 1000 + 3 * 400);  // everything to everyone at once
  EXPECT_EQ(cost(StepKind::reduce_scatter, 400, 4), 1000 + 300);
  EXPECT_EQ(cost(StepKind::all_gather, 400, 4), 1000 + 300);
  EXPECT_EQ(cost(StepKind::send, 400, 2), 1000 + 400);
  EXPECT_EQ(cost(StepKind::all_reduce, 400, 1), 0);
}

TEST(Prediction, of_one_rank_is_the_sum_of_its_kernels) {
  auto const plan = test::make_plan({.micro = 1, .global = 3});
  std::int64_t sum = 0, passes = 0;
  for (auto const* name : {"forward_backward", "control", "update"}) {
    for (auto const& s : plan->shapes.front()->find_program(name)->steps) sum += kernel_cost(s.flops, s.bytes, machine);
    if (passes == 0) passes = sum;
  }
  auto const p = predict(*plan, machine);
  EXPECT_EQ(p.step_ns, sum);
  EXPECT_EQ(p.passes_ns, passes);
  EXPECT_EQ(p.naive_ns, sum);
  EXPECT_EQ(p.bubble, 0);
  EXPECT_EQ(p.exposed, 0);
}

TEST(Prediction, compares_with_what_the_plan_of_one_rank_takes) {
  for (bool const bf16 : {false, true}) {
    PlanCase one{.micro = 2, .global = 16, .layers = 2, .hidden = 64, .heads = 4, .tokens = 32, .bf16 = bf16};
    auto const expected = static_cast<double>(predict(*planned(one), machine).step_ns);
    auto split = one;
    split.world = 8, split.tp = 2, split.pp = 2;
    auto const naive = predict(*planned(split), machine).naive_ns;
    EXPECT_NEAR(static_cast<double>(naive), expected, 0.05 * expected) << bf16;
  }
}

/// Where communication is free, the programs take what the schedule alone takes.
TEST(Prediction, agrees_with_the_simulation_of_the_schedule) {
  for (std::string const schedule : {"gpipe", "1f1b", "interleaved", "zb-h1"}) {
    for (std::int64_t const pp : {3}) {
      auto const plan = planned(pipeline(schedule, pp, 6));
      auto const& part = plan->parts.front();
      auto const table = make_node_table(part, plan->at.size());
      ActionCosts costs;
      costs.stage.resize(plan->at.size());
      for (std::size_t k = 0; k < table.size(); ++k) {
        for (std::size_t s = 0; s < plan->at.size(); ++s) {
          for (int const n : table[k][s]) {
            auto const& node = part.graph.node(n);
            std::vector<TensorSpec> specs;
            for (int const v : node.in) specs.push_back(plan->local_spec(part, v));
            auto const cost = node.op->cost(specs);
            costs.stage[s][k] += kernel_cost(cost.flops, cost.bytes, ideal);
          }
        }
      }
      auto const expected = simulate(part.schedules.at(6), costs);
      auto const actions = actions_of(*plan, play(*plan, "forward_backward", ideal));
      EXPECT_GE(actions.makespan, expected.makespan) << schedule << pp;
      // A step may wait for a send two actions before it.
      EXPECT_LE(static_cast<double>(actions.makespan), 1.05 * static_cast<double>(expected.makespan)) << schedule << pp;
      EXPECT_EQ(actions.in_flight, expected.in_flight);
    }
  }
}

TEST(Prediction, has_the_actions_of_a_coordinate_one_after_the_other) {
  for (std::string const schedule : {"gpipe", "1f1b", "interleaved", "zb-h1"}) {
    auto const plan = planned(pipeline(schedule, 2, 4));
    auto const& wanted = plan->parts.front().schedules.at(4);
    auto const times = actions_of(*plan, play(*plan, "forward_backward", machine));
    for (std::size_t c = 0; c < wanted.actions.size(); ++c) {
      ASSERT_EQ(times.spans[c].size(), wanted.actions[c].size());
      std::int64_t before = 0;
      for (auto const& s : times.spans[c]) {
        EXPECT_GE(s.start, before);
        EXPECT_GT(s.end, s.start);
        before = s.end;
      }
    }
  }
}

TEST(Prediction, has_a_smaller_bubble_with_more_micro_batches_and_none_without_stages) {
  auto const bubble = [](PlanCase const& c) { return predict(*planned(c), ideal).bubble; };
  auto const few = bubble(pipeline("1f1b", 2, 2)), many = bubble(pipeline("1f1b", 2, 16));
  EXPECT_GT(few, 0.15);
  EXPECT_LT(many, few);
  EXPECT_LT(bubble(pipeline("zb-h1", 2, 4)), bubble(pipeline("1f1b", 2, 4)));
  PlanCase wide{.world = 4, .global = 8};
  wide.tp = 2;
  EXPECT_EQ(bubble(wide), 0);
  EXPECT_GT(predict(*planned(wide), machine).exposed, 0);
}

TEST(Prediction, of_unlike_replicas_is_that_of_the_one_with_most_to_do) {
  auto c = PlanCase{.world = 2, .micro = 1, .global = 8};
  auto config = test::plan_config(c);
  config.batch.shares = {1, 3};
  auto const plan = make(test::plan_graphs(c, Purpose::train), config, 2, test::plan_machine(c), Purpose::train);
  EXPECT_EQ(busiest_replica(*plan), 1);
  EXPECT_GT(predict(*plan, machine).passes_ns, predict(*planned(c), machine).passes_ns);
}

TEST(Prediction, says_what_it_assumes) {
  auto const plan = test::make_plan({.bf16 = true, .threads = 3});
  auto const assumed = assumed_machine(*plan);
  EXPECT_EQ(assumed.flops_per_ns, 300);
  EXPECT_EQ(assumed.bytes_per_ns, 30);
  EXPECT_THAT(to_text(*plan), HasSubstr("assumed: 300 GFLOP/s and 30 GB/s of memory a rank, 3.00 us a kernel"));
}

TEST(Prediction, warns_where_a_split_is_slower_than_one_rank) {
  PlanCase tiny{.world = 4, .global = 8};
  tiny.tp = 4, tiny.heads = 4;
  EXPECT_THAT(to_text(*test::make_plan(tiny)),
              HasSubstr("warning: this split is predicted to be slower than one rank"));
  PlanCase large{.world = 2, .global = 16, .layers = 2, .hidden = 256, .heads = 4, .tokens = 256};
  EXPECT_THAT(to_text(*test::make_plan(large)), ::testing::Not(HasSubstr("warning")));
}

}  // namespace
}  // namespace lamina::plan
