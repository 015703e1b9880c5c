#include "lamina/graph/optimizer.hpp"

#include <gtest/gtest.h>

#include "lamina/graph/ops/update.hpp"
#include "support/errors.hpp"
#include "support/op_cases.hpp"

namespace lamina::graph {
namespace {

/// embed -> head, tied, with positions of which the weight does not decay.
Graph make_graph(bool differentiated) {
  Graph g;
  int const w = g.add_parameter("w", {DType::f32, {11, 5}}, {"vocab", "model"}, {}, true);
  int const p = g.add_parameter("p", {DType::f32, {3, 5}}, {"context", "model"}, {}, false);
  g.add_parameter("unused", {DType::f32, {3}}, {""}, {}, true);
  int const ids = g.add_input("ids", {DType::i32, {2, 3}}, {"batch", "tokens"});
  auto const embedding = std::make_shared<Embedding>(Embedding::Attrs{.positions = true});
  int const x = g.add_node(embedding, {w, ids, p}, "embed", Phase::forward)[0];
  auto const s = g.add_node(std::make_shared<HeadLossStats>(HeadAttrs{}), {x, w, ids}, "head", Phase::forward);
  int const loss = g.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
  int const sum = g.add_node(std::make_shared<SoftmaxRescale>(), {s[1], s[0], s[0]}, "head", Phase::forward)[0];
  g.add_node(std::make_shared<LossSum>(), {s[0], sum, s[2], ids}, "head", Phase::forward, {loss});
  if (differentiated) differentiate(g, loss);
  return g;
}

std::vector<Node> updates(Graph const& g) {
  std::vector<Node> out;
  for (auto const& n : g.nodes()) {
    if (n.phase == Phase::update) out.push_back(n);
  }
  return out;
}

TEST(Optimizer, updates_every_parameter_that_has_a_gradient_once) {
  auto g = make_graph(true);
  append_optimizer(g, {});
  auto const nodes = updates(g);
  ASSERT_EQ(nodes.size(), 2U) << "a tied parameter once, an unused one not at all";
  int const w = g.find("w", Role::parameter), hyper = g.find("hyper", Role::input);
  int const m = g.find("w", Role::moment1), v = g.find("w", Role::moment2);
  EXPECT_EQ(nodes[0].in, (std::vector<int>{g.gradient_of(w), w, m, v, hyper}));
  EXPECT_EQ(nodes[0].layer, "embed") << "the first layer that uses it";
  EXPECT_EQ(g.value(nodes[0].out[0]).overwrites, w);
  EXPECT_EQ(g.value(nodes[0].out[2]).overwrites, v);
  EXPECT_EQ(g.value(m).dims, g.value(w).dims);
  EXPECT_EQ(g.value(v).parameter, w);
  EXPECT_EQ(g.parameters().size(), 3U) << "the updated versions are no new parameters";
}

TEST(Optimizer, decays_only_where_the_parameter_says_so) {
  auto g = make_graph(true);
  append_optimizer(g, {.kind = "adamw", .weight_decay = 0.3});
  auto const nodes = updates(g);
  ASSERT_EQ(nodes.size(), 2U);
  EXPECT_EQ(nodes[0].op->attributes().real("weight_decay"), 0.3);
  EXPECT_EQ(nodes[1].op->attributes().real("weight_decay"), 0.0);
}

TEST(Optimizer, of_sgd_has_one_moment) {
  auto g = make_graph(true);
  append_optimizer(g, {.kind = "sgd", .momentum = 0.7});
  auto const nodes = updates(g);
  ASSERT_EQ(nodes.size(), 2U);
  EXPECT_EQ(nodes[0].op->kind(), "sgd");
  EXPECT_EQ(nodes[0].op->attributes().real("momentum"), 0.7);
  EXPECT_GE(g.find("w", Role::moment1), 0);
  EXPECT_EQ(g.find("w", Role::moment2), -1);
}

TEST(Optimizer, refuses_other_kinds_and_graphs_without_gradients) {
  auto g = make_graph(true), plain = make_graph(false);
  EXPECT_EQ(test::error_of([&] { append_optimizer(g, {.kind = "adam"}); }).code, "graph.optimizer.kind");
  EXPECT_EQ(test::error_of([&] { append_optimizer(plain, {}); }).code, "graph.optimizer.gradients");
}

}  // namespace
}  // namespace lamina::graph
