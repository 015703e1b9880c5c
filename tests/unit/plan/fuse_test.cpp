#include "plan/detail/fuse.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lamina/graph/ops/activation.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "plan/detail/split_head.hpp"
#include "support/plan_cases.hpp"

namespace lamina::plan {
namespace {

using graph::Graph;
using graph::Phase;

int count(Graph const& g, std::string_view kind) {
  return static_cast<int>(
      std::count_if(g.nodes().begin(), g.nodes().end(), [&](auto const& n) { return n.op->kind() == kind; }));
}

Graph gpt(test::PlanCase const& c) { return test::plan_graphs(c, Purpose::train).train; }

std::vector<int> times(Fused const& f) {
  std::vector<int> all;
  for (auto const& p : f.patterns) all.push_back(p.times);
  return all;
}

/// Every operand is an input, a parameter, a state, or made by an earlier node.
void expect_ordered(Graph const& g) {
  for (auto const& n : g.nodes()) {
    for (int const v : n.in) EXPECT_LT(g.value(v).producer, n.id) << n.layer << " " << n.op->kind();
  }
}

TEST(Fuse, replaces_the_patterns_of_a_gpt) {
  auto const fused = fuse(gpt({.layers = 3}));
  // Per block a feed-forward and two residual sums followed by a norm; the head once. The residual gradients reach
  // layer_norm_grad during differentiation already.
  EXPECT_THAT(times(fused), ::testing::ElementsAre(3, 6, 0, 1, 0));
  expect_ordered(fused.graph);
  EXPECT_EQ(count(fused.graph, "linear_gelu"), 3);
  EXPECT_EQ(count(fused.graph, "gelu"), 0);
  EXPECT_EQ(count(fused.graph, "gelu_grad"), 3);  // z is kept for it
  EXPECT_EQ(count(fused.graph, "add_layer_norm"), 6);
  EXPECT_EQ(count(fused.graph, "add"), 0);
  EXPECT_EQ(count(fused.graph, "layer_norm"), 1);  // the first of the first block
  EXPECT_EQ(count(fused.graph, "head_loss"), 1);
  EXPECT_EQ(count(fused.graph, "head_loss_stats") + count(fused.graph, "loss_sum"), 0);
  EXPECT_EQ(count(fused.graph, "softmax_rescale"), 0);
}

TEST(Fuse, takes_relu_and_bf16_and_head_bias_alike) {
  auto const fused = fuse(gpt({.tied = false, .head_bias = true, .bf16 = true, .activation = "relu"}));
  EXPECT_THAT(times(fused), ::testing::ElementsAre(2, 4, 0, 1, 0));
  auto const& nodes = fused.graph.nodes();
  auto const at = std::find_if(nodes.begin(), nodes.end(), [](auto const& n) { return n.op->kind() == "linear_gelu"; });
  ASSERT_NE(at, nodes.end());
  EXPECT_EQ(at->op->attributes().string("activation"), "relu");
  EXPECT_EQ(fused.graph.value(at->out[1]).spec.dtype, DType::bf16);
}

TEST(Fuse, keeps_parameters_states_and_gradients_as_they_were) {
  auto const before = gpt({.dropout = 0.1});
  auto const after = fuse(before).graph;
  for (auto const& v : before.values()) {
    if (v.producer >= 0) continue;
    int const id = after.find(v.name, v.role);
    ASSERT_GE(id, 0) << v.name;
    EXPECT_EQ(after.value(id).spec, v.spec);
    EXPECT_EQ(after.value(id).dims, v.dims);
    EXPECT_EQ(after.value(id).decay, v.decay);
    EXPECT_EQ(after.value(id).init.kind, v.init.kind);
  }
  for (int const p : after.parameters()) {
    EXPECT_EQ(after.gradient_of(p), after.find(after.value(p).name, Role::gradient));
  }
}

TEST(Fuse, keeps_the_number_of_writers_of_every_gradient) {
  auto const before = gpt({}), after = fuse(before).graph;
  auto const writers = [](Graph const& g, std::string const& name) {
    int n = 0;
    for (auto const& v : g.values()) {
      if (v.accumulates_into >= 0 && g.value(v.accumulates_into).name == name) ++n;
    }
    return n;
  };
  for (int const p : before.parameters()) {
    auto const& name = before.value(p).name;
    EXPECT_EQ(writers(after, name), writers(before, name)) << name;
  }
  EXPECT_EQ(writers(after, "embed.tokens.weight"), 2);  // tied: head and embedding
}

TEST(Fuse, leaves_the_plain_head_of_an_evaluation) {
  auto const fused = fuse(test::plan_graphs({}, Purpose::eval).eval);
  EXPECT_THAT(times(fused), ::testing::ElementsAre(2, 4, 0, 0, 1));
  EXPECT_EQ(count(fused.graph, "loss_sum"), 1);
  EXPECT_EQ(count(fused.graph, "softmax_rescale"), 0) << "the sums are relative to the only maximum there is";
}

TEST(Fuse, leaves_a_head_alone_whose_vocabulary_is_split) {
  for (auto const& graph : {gpt({}), test::plan_graphs({}, Purpose::eval).eval}) {
    auto const fused = fuse(graph, true);
    EXPECT_THAT(times(fused), ::testing::ElementsAre(2, 4, 0, 0, 0));
    for (auto const* kind : {"head_loss_stats", "softmax_rescale", "loss_sum", "head_loss_grad"}) {
      EXPECT_EQ(count(fused.graph, kind), count(graph, kind)) << kind;
    }
    EXPECT_EQ(count(fused.graph, "softmax_rescale"), 1);
    expect_ordered(fused.graph);
  }
}

TEST(SplitHead, makes_the_weight_gradient_an_op_of_its_own) {
  for (bool const vocab_split : {false, true}) {
    auto const before = gpt({.head_bias = true});
    auto const graph = fuse(split_head(before, 1), vocab_split).graph;
    expect_ordered(graph);
    EXPECT_EQ(count(graph, "linear_grad_weight"), count(before, "linear_grad_weight") + 1);
    auto const& nodes = graph.nodes();
    auto const* const kind = vocab_split ? "head_loss_grad" : "head_loss";
    auto const head = std::find_if(nodes.begin(), nodes.end(), [&](auto const& n) { return n.op->kind() == kind; });
    ASSERT_NE(head, nodes.end());
    auto const weight = std::find_if(nodes.begin(), nodes.end(), [&](auto const& n) {
      return n.op->kind() == "linear_grad_weight" && n.in[0] == head->out.back();
    });
    ASSERT_NE(weight, nodes.end());
    EXPECT_EQ(weight->in[1], head->in[0]);
    EXPECT_EQ(weight->phase, Phase::backward);
    EXPECT_EQ(weight->layer, head->layer);
    ASSERT_EQ(weight->out.size(), 2);
    for (std::size_t o = 0; o < 2; ++o) {
      int const state = graph.value(weight->out[o]).accumulates_into;
      ASSERT_GE(state, 0);
      EXPECT_EQ(graph.value(state).parameter, head->in[1 + o]) << "the table, then the bias";
    }
  }
}

TEST(SplitHead, leaves_a_head_alone_whose_logits_take_too_much) {
  auto const large = gpt({.micro = 1 << 12, .global = 1 << 12, .tokens = 128, .vocab = 257});
  auto const whole = count(large, "linear_grad_weight");
  EXPECT_EQ(count(split_head(large, 2), "linear_grad_weight"), whole) << "257 MiB a rank";
  EXPECT_EQ(count(split_head(large, 3), "linear_grad_weight"), whole + 1);
}

TEST(Fuse, keeps_outputs_under_their_names) {
  auto const fused = fuse(test::plan_graphs({}, Purpose::generate).decode);
  int const logits = fused.graph.find("logits", Role::output);
  ASSERT_GE(logits, 0);
  EXPECT_EQ(fused.graph.value(logits).spec, (TensorSpec{DType::f32, {1, 40}}));
}

struct Small {
  Graph g;
  int x, w, s, b;
  Small() {
    x = g.add_input("x", {DType::f32, {2, 3, 4}}, {"batch", "tokens", "model"});
    w = g.add_parameter("w", {DType::f32, {4, 4}}, {"", "model"}, {}, true);
    s = g.add_parameter("s", {DType::f32, {4}}, {"model"}, {}, false);
    b = g.add_parameter("b", {DType::f32, {4}}, {"model"}, {}, false);
  }
  int node(graph::OpPtr op, std::vector<int> in, Phase phase = Phase::forward, std::vector<int> const& targets = {}) {
    return g.add_node(std::move(op), std::move(in), "l", phase, targets)[0];
  }
};

TEST(Fuse, leaves_a_product_whose_plain_result_somebody_reads) {
  Small c;
  int const z = c.node(std::make_shared<graph::Linear>(graph::LinearAttrs{.bias = false}), {c.x, c.w});
  c.g.mark_output(z, "z");
  c.node(std::make_shared<graph::Activation>(graph::Activation::Function::gelu), {z});
  EXPECT_EQ(count(fuse(c.g).graph, "linear_gelu"), 0);
}

TEST(Fuse, leaves_a_product_of_another_dtype_than_its_input) {
  Small c;
  auto const op = std::make_shared<graph::Linear>(graph::LinearAttrs{.bias = false, .dtype = DType::bf16});
  c.node(std::make_shared<graph::Activation>(graph::Activation::Function::relu), {c.node(op, {c.x, c.w})});
  EXPECT_EQ(count(fuse(c.g).graph, "linear_gelu"), 0);
}

/// dx of a norm, then the sum with a gradient that comes later.
Small norm_gradient(bool read_twice) {
  Small c;
  int const mean = c.g.add_input("mean", {DType::f32, {2, 3}}, {"batch", "tokens"});
  int const late = c.g.add_input("late", {DType::f32, {2, 3, 4}}, {"batch", "tokens", "model"});
  int const ds = c.g.add_state("s", {DType::f32, {4}}, {"model"}, Role::gradient, c.s);
  int const db = c.g.add_state("b", {DType::f32, {4}}, {"model"}, Role::gradient, c.b);
  auto const grad = std::make_shared<graph::LayerNormGrad>(graph::LayerNormGrad::Attrs{});
  int const dx = c.node(grad, {c.x, c.x, c.s, mean, mean}, Phase::backward, {-1, ds, db});
  int const residual = c.node(std::make_shared<graph::Add>(), {late, late}, Phase::backward);
  int const sum = c.node(std::make_shared<graph::Add>(), {dx, residual}, Phase::backward);
  if (read_twice) c.node(std::make_shared<graph::Add>(), {sum, dx}, Phase::backward);
  return c;
}

TEST(Fuse, adds_a_residual_gradient_that_comes_later_in_the_norms_gradient) {
  auto const fused = fuse(norm_gradient(false).g);
  EXPECT_EQ(times(fused)[2], 1);
  expect_ordered(fused.graph);
  auto const& last = fused.graph.nodes().back();
  EXPECT_EQ(last.op->attributes().integer("residual"), 1);
  EXPECT_EQ(last.in.size(), 6u);
  EXPECT_EQ(fused.graph.node(fused.graph.value(last.in[5]).producer).op->kind(), "add");
}

TEST(Fuse, leaves_a_norms_gradient_that_is_read_on_its_own) { EXPECT_EQ(times(fuse(norm_gradient(true).g))[2], 0); }

}  // namespace
}  // namespace lamina::plan
