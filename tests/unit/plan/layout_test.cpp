#include "plan/detail/layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/update.hpp"
#include "support/errors.hpp"

namespace lamina::plan {
namespace {

using graph::Graph;
using graph::Phase;
using ::testing::HasSubstr;

Mesh const dp4{{"pp", "dp", "tp"}, {1, 4, 1}};
Mesh const dp2_tp2{{"pp", "dp", "tp"}, {1, 2, 2}};  // what the policy table already says, ahead of the run file

Policy policy_of(Purpose purpose) {
  Policy policy;
  policy.purpose = purpose;
  return policy;
}
Policy const train = policy_of(Purpose::train), generate = policy_of(Purpose::generate);

TensorSpec f32(Shape s) { return {DType::f32, s}; }

struct LinearCase {
  Graph g;
  int x, w, b, y, dw;
};

/// y = x w^T + b and the gradient of w, by hand.
LinearCase linear_case(std::string row_name = "batch", std::string out_name = "ff") {
  LinearCase c;
  c.x = c.g.add_input("x", f32({8, 3, 5}), {row_name, "tokens", "model"});
  c.w = c.g.add_parameter("w", f32({6, 5}), {out_name, "model"}, {}, true);
  c.b = c.g.add_parameter("b", f32({6}), {out_name}, {}, false);
  c.y = c.g.add_node(std::make_shared<graph::Linear>(graph::LinearAttrs{}), {c.x, c.w, c.b}, "fc", Phase::forward)[0];
  c.dw = c.g.add_state("w", f32({6, 5}), {out_name, "model"}, Role::gradient, c.w);
  return c;
}

graph::OpPtr weight_gradient() { return std::make_shared<graph::LinearGradWeight>(graph::LinearAttrs{.bias = false}); }

TEST(Layout, splits_the_batch_over_dp_and_leaves_parameters_whole) {
  auto const c = linear_case();
  auto const layouts = propagate(c.g, dp4, train);
  auto const of = [&](int v) { return to_text(layouts.values[static_cast<std::size_t>(v)], dp4); };
  EXPECT_EQ(of(c.x), "dp=shard(0)");
  EXPECT_EQ(of(c.w), "dp=replicate");
  EXPECT_EQ(of(c.y), "dp=shard(0)");
  EXPECT_EQ(local_shape(c.g.value(c.y), layouts.values[static_cast<std::size_t>(c.y)], dp4), (Shape{2, 3, 6}));
  EXPECT_TRUE(layouts.forms.empty());
}

TEST(Layout, follows_the_policy_table_on_two_axes_at_once) {
  auto const c = linear_case();
  auto const layouts = propagate(c.g, dp2_tp2, train);
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(c.w)], dp2_tp2), "dp=replicate tp=shard(0)");
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(c.y)], dp2_tp2), "dp=shard(0) tp=shard(2)");
}

TEST(Layout, of_generation_is_replicated) {
  auto const c = linear_case();
  auto const layouts = propagate(c.g, dp4, generate);
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(c.y)], dp4), "dp=replicate");
}

TEST(Layout, of_a_gradient_is_a_partial_sum_that_the_plan_reduces_once) {
  auto c = linear_case();
  auto const made = c.g.add_node(weight_gradient(), {c.y, c.x}, "fc", Phase::backward, {c.dw});
  c.g.add_node(weight_gradient(), {c.y, c.x}, "fc", Phase::backward, {c.dw});
  auto const layouts = propagate(c.g, dp4, train);
  EXPECT_EQ(layouts.partial_axes(c.dw), std::vector<std::size_t>{1});
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(c.dw)], dp4), "dp=partial(sum)");
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(made[0])], dp4), "dp=partial(sum)");
}

TEST(Layout, of_activations_is_completed_by_collectives_over_tp) {
  // Column product, then row product: the classic pair (Shoeybi et al., "Megatron-LM", 2019).
  auto c = linear_case("", "ff");
  int const down = c.g.add_parameter("down", f32({5, 6}), {"model", "ff"}, {}, true);
  int const z = c.g.add_node(std::make_shared<graph::Linear>(graph::LinearAttrs{.bias = false}), {c.y, down}, "proj",
                             Phase::forward)[0];
  c.g.add_node(std::make_shared<graph::Add>(), {z, c.x}, "residual", Phase::forward);
  Mesh const tp2{{"pp", "dp", "tp"}, {1, 1, 2}};
  auto const layouts = propagate(c.g, tp2, train);
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(c.y)], tp2), "tp=shard(2)");
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(z)], tp2), "tp=partial(sum)");
  ASSERT_EQ(layouts.forms.size(), 1u);
  EXPECT_EQ(layouts.forms[0].value, z);
  EXPECT_TRUE(layouts.forms[0].at_producer);
  EXPECT_EQ(to_text(layouts.forms[0].layout, tp2), "tp=replicate");
}

TEST(Layout, gathers_what_a_weight_that_is_kept_whole_reads) {
  auto c = linear_case("", "ff");
  int const down =
      c.g.add_parameter("down", f32({5, 6}), {"model", ""}, {}, true);  // as parallel.split = "none" has it
  int const dim = c.g.add_state("down", f32({5, 6}), {"model", ""}, Role::gradient, down);
  int const z = c.g.add_node(std::make_shared<graph::Linear>(graph::LinearAttrs{.bias = false}), {c.y, down}, "proj",
                             Phase::forward)[0];
  c.g.add_node(weight_gradient(), {z, c.y}, "proj", Phase::backward, {dim});
  Mesh const tp2{{"pp", "dp", "tp"}, {1, 1, 2}};
  auto const layouts = propagate(c.g, tp2, train);
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(c.y)], tp2), "tp=shard(2)");
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(z)], tp2), "tp=replicate");
  ASSERT_FALSE(layouts.forms.empty());
  for (auto const& form : layouts.forms) EXPECT_EQ(form.value, c.y);
  EXPECT_EQ(to_text(layouts.forms[0].layout, tp2), "tp=replicate");
}

TEST(Layout, refuses_a_partial_sum_as_an_operand) {
  auto c = linear_case();
  c.g.add_node(weight_gradient(), {c.y, c.x}, "fc", Phase::backward, {c.dw});
  c.g.add_node(std::make_shared<graph::Add>(), {c.w, c.dw}, "odd", Phase::backward);
  auto const e = test::error_of([&] { propagate(c.g, dp4, train); });
  EXPECT_EQ(e.code, "plan.layout.partial");
  EXPECT_EQ(e.subject, "odd: add reads w over mesh axis 'dp'");
  EXPECT_EQ(e.found, "partial(sum)");
}

TEST(Layout, refuses_operands_that_are_cut_differently) {
  Graph g;
  int const a = g.add_input("a", f32({8, 3}), {"batch", "model"});
  int const b = g.add_parameter("b", f32({8, 3}), {"", "model"}, {}, true);
  g.add_node(std::make_shared<graph::Add>(), {a, b}, "odd", Phase::forward);
  auto const e = test::error_of([&] { propagate(g, dp4, train); });
  EXPECT_EQ(e.code, "plan.layout.mismatch");
  EXPECT_EQ(e.found, "a is shard(0), b is replicate");
  EXPECT_THAT(e.fix, HasSubstr("same logical names"));
}

TEST(Layout, refuses_parameters_of_one_product_that_are_cut_differently) {
  Graph g;
  int const x = g.add_input("x", f32({2, 4, 6}), {"batch", "tokens", "model"});
  int const w = g.add_parameter("w", f32({8, 6}), {"ff", "model"}, {}, true);
  int const b = g.add_parameter("b", f32({8}), {""}, {}, false);  // as parallel.split = "none" of another layer has it
  g.add_node(std::make_shared<graph::Linear>(graph::LinearAttrs{.bias = true}), {x, w, b}, "fc", Phase::forward);
  auto const e = test::error_of([&] { propagate(g, {{"pp", "dp", "tp"}, {1, 1, 2}}, train); });
  EXPECT_EQ(e.code, "plan.layout.mismatch");
  EXPECT_EQ(e.found, "w is shard(0), b is replicate");
  EXPECT_THAT(e.fix, HasSubstr("the same parallel.split"));
}

TEST(Layout, refuses_to_cut_a_dim_that_the_op_needs_whole) {
  Graph g;
  int const x = g.add_input("x", f32({3, 8}), {"tokens", "batch"});
  int const s = g.add_parameter("s", f32({8}), {"batch"}, {}, false);
  int const b = g.add_parameter("b", f32({8}), {"batch"}, {}, false);
  g.add_node(std::make_shared<graph::LayerNorm>(graph::LayerNorm::Attrs{}), {x, s, b}, "norm", Phase::forward);
  auto const e = test::error_of([&] { propagate(g, dp4, train); });
  EXPECT_EQ(e.code, "plan.layout.whole");
  EXPECT_THAT(e.found, HasSubstr("dim 'batch'"));
}

TEST(Layout, adds_a_bias_on_one_rank_where_the_sum_is_split) {
  Graph g;
  int const x = g.add_input("x", f32({3, 8}), {"tokens", "batch"});
  int const w = g.add_parameter("w", f32({6, 8}), {"", "batch"}, {}, true);
  int const b = g.add_parameter("b", f32({6}), {""}, {}, false);
  graph::LinearAttrs const attrs{.rows_dims = 1};
  int const y = g.add_node(std::make_shared<graph::Linear>(attrs), {x, w, b}, "fc", Phase::forward)[0];
  auto const layouts = propagate(g, dp4, train);
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(y)], dp4), "dp=partial(sum)");
  EXPECT_EQ(layouts.cuts[0].holders, std::vector<int>{1});
}

TEST(Layout, refuses_writers_that_leave_one_gradient_in_two_layouts) {
  auto c = linear_case();
  c.g.add_node(weight_gradient(), {c.y, c.x}, "fc", Phase::backward, {c.dw});
  int const whole = c.g.add_input("whole", f32({4, 3, 6}), {"", "tokens", "ff"});
  int const rows = c.g.add_input("rows", f32({4, 3, 5}), {"", "tokens", "model"});
  c.g.add_node(weight_gradient(), {whole, rows}, "other", Phase::backward, {c.dw});
  auto const e = test::error_of([&] { propagate(c.g, dp4, train); });
  EXPECT_EQ(e.code, "plan.layout.writers");
  EXPECT_EQ(e.found, "replicate, while it is partial(sum)");
}

TEST(Layout, refuses_a_dim_that_the_axis_does_not_divide) {
  auto const c = linear_case();
  Mesh const dp3{{"pp", "dp", "tp"}, {1, 3, 1}};
  auto const layouts = propagate(c.g, dp3, train);
  auto const e =
      test::error_of([&] { local_shape(c.g.value(c.x), layouts.values[static_cast<std::size_t>(c.x)], dp3); });
  EXPECT_EQ(e.code, "plan.shard.divisibility");
  EXPECT_THAT(e.found, HasSubstr("extent 8, mesh.dp = 3"));
  EXPECT_THAT(e.fix, HasSubstr("6, 9"));
}

TEST(Layout, says_replicate_when_no_axis_has_two_ranks) {
  Mesh const one{{"pp", "dp", "tp"}, {1, 1, 1}};
  auto const c = linear_case();
  auto const layouts = propagate(c.g, one, train);
  EXPECT_EQ(to_text(layouts.values[static_cast<std::size_t>(c.x)], one), "replicate");
}

}  // namespace
}  // namespace lamina::plan
