#include "plan/detail/canonical.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "plan/detail/plan.hpp"
#include "support/errors.hpp"
#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using graph::Graph;

std::vector<test::PlanCase> models() {
  return {{.dropout = 0.1}, {.tied = false, .head_bias = true, .bf16 = true}, {.norm = "post", .activation = "relu"}};
}

std::shared_ptr<Plan const> plan_of(test::PlanCase const& c, Purpose purpose = Purpose::train) {
  auto config = test::plan_config(c);
  config.run.determinism = "canonical";
  return make(test::plan_graphs(c, purpose), config, c.world, test::plan_machine(c), purpose);
}

std::vector<graph::Node const*> users(Graph const& g, int value) {
  std::vector<graph::Node const*> all;
  for (auto const& n : g.nodes()) {
    if (std::find(n.in.begin(), n.in.end(), value) != n.in.end()) all.push_back(&n);
  }
  return all;
}

TEST(Canonical, keeps_exact_sums_in_f64_until_they_are_cast) {
  for (auto const& c : models()) {
    auto const source = test::plan_graphs(c, Purpose::train).train;
    auto const g = canonical(source, canonical_sums({}));
    int casts = 0;
    for (auto const& v : g.values()) {
      if (v.role == Role::gradient || v.role == Role::parameter) {
        EXPECT_EQ(v.spec.dtype, v.role == Role::gradient ? DType::f64 : DType::f32) << v.name;
      }
      if (v.producer < 0 || v.spec.dtype != DType::f64 || v.accumulates_into >= 0) continue;
      for (auto const* n : users(g, v.id)) EXPECT_EQ(n->op->kind(), "cast") << v.name;
      ++casts;
    }
    EXPECT_GT(casts, 10);
    std::vector<std::string> kinds;
    for (auto const& n : g.nodes()) {
      kinds.emplace_back(n.op->kind());
      for (int const i : n.in) EXPECT_LT(g.value(i).producer, n.id) << n.layer << ' ' << n.op->kind();
    }
    EXPECT_THAT(kinds, ::testing::Not(::testing::Contains("softmax_rescale")));
    EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "head_loss_sum"), 1);
    EXPECT_EQ(g.parameters().size(), source.parameters().size());
  }
}

/// Where a rank's term of a sum is rounded, the sum depends on the cut. Beside the exact ones there are sums with one
/// term that is not zero.
TEST(Canonical, leaves_no_sum_over_ranks_that_is_not_exact) {
  int sums = 0;
  for (auto c : models()) {
    for (bool const sequence : {false, true}) {
      for (auto const& [world, tp] : {std::pair{2, 2}, std::pair{4, 2}, std::pair{2, 1}}) {
        c.world = world, c.tp = tp, c.sequence_parallel = sequence;
        auto const plan = plan_of(c);
        for (auto const& part : plan->parts) {
          for (auto const& v : part.graph.values()) {
            for (auto const& axis : part.layouts.values[static_cast<std::size_t>(v.id)].axes) {
              if (axis.split != Split::partial_sum || users(part.graph, v.id).empty()) continue;
              auto const maker = v.producer < 0 ? "" : std::string(part.graph.node(v.producer).op->kind());
              bool const one_term = maker == "embedding" || maker == "head_loss_stats";
              EXPECT_TRUE(v.spec.dtype == DType::f64 || one_term) << part.program << ' ' << v.name << " of " << maker;
              ++sums;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(sums, 100);
}

TEST(Canonical, takes_its_fixed_points_from_the_run_and_not_from_the_layout) {
  auto const fractions = [](test::PlanCase const& c) {
    std::vector<std::int64_t> all;
    auto const plan = plan_of(c);
    for (auto const& part : plan->parts) {
      for (auto const& n : part.graph.nodes()) all.push_back(n.op->attributes().integer("fraction", -1));
    }
    return all;
  };
  auto const one = fractions({.world = 1, .micro = 4});
  EXPECT_GT(std::count_if(one.begin(), one.end(), [](auto f) { return f > 0; }), 20);
  EXPECT_EQ(fractions({.world = 2, .micro = 2}), one);
  EXPECT_EQ(fractions({.world = 4, .micro = 1, .tp = 2, .zero = 2}), one);
  EXPECT_EQ(fractions({.world = 2, .micro = 1, .tp = 2, .sequence_parallel = false}), one);
}

TEST(Canonical, gives_more_targets_and_words_more_room_before_the_point) {
  auto const few = canonical_sums({.targets = 96, .vocab = 37}),
             many = canonical_sums({.targets = 1 << 19, .vocab = 50257});
  EXPECT_EQ(few.parameter_gradient.fraction, 40);
  EXPECT_EQ(many.parameter_gradient.fraction, 30);
  EXPECT_GE(many.parameter_gradient.limit, 8.0 * (1 << 19));
  EXPECT_GE(many.exponentials.limit, 50257);
  EXPECT_GE(many.loss.limit, 100.0 * (1 << 19));
  // Terms of 8 ranks together have no more room than those of one.
  auto const ranks = canonical_sums({.targets = 96, .vocab = 37, .terms_of_activation = 5, .terms_of_gradient = 8});
  EXPECT_EQ(ranks.activation.fraction, few.activation.fraction);
  EXPECT_EQ(8 * ranks.activation.limit, few.activation.limit);
  EXPECT_EQ(8 * ranks.parameter_gradient.limit, few.parameter_gradient.limit);
}

TEST(Canonical, packs_and_fuses_nothing) {
  auto const plan = plan_of({.bf16 = true});
  EXPECT_TRUE(plan->parts.front().fused.empty());
  for (auto const& b : plan->shapes.front()->buffers)
    EXPECT_NE(b.spec.dtype == DType::u8 && b.role == Role::packed, true) << b.name;
}

TEST(Canonical, is_refused_for_more_ranks_than_its_sums_have_room_for) {
  auto const e = test::error_of([] { plan_of({.world = 512, .micro = 1, .global = 512}); });
  EXPECT_EQ(e.code, "plan.canonical.ranks");
  EXPECT_THAT(e.expected, ::testing::HasSubstr("256"));
}

}  // namespace
}  // namespace lamina::plan
