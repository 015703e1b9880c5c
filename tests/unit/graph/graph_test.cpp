#include "lamina/graph/graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "lamina/base/text.hpp"
#include "lamina/graph/ops/activation.hpp"
#include "lamina/graph/ops/attention.hpp"
#include "lamina/graph/ops/dropout.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/loss.hpp"
#include "support/errors.hpp"

namespace lamina::graph {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
constexpr auto f32 = DType::f32, i32 = DType::i32;

std::vector<int> add(Graph& g, OpPtr op, std::vector<int> in, std::vector<int> const& targets = {}) {
  return g.add_node(std::move(op), std::move(in), "blocks.0", Phase::forward, targets);
}
OpPtr relu() { return std::make_shared<Activation>(Activation::Function::relu); }
OpPtr dropout(double p, std::uint32_t id) { return std::make_shared<Dropout>(Dropout::Attrs{.p = p, .operation = id}); }

TEST(Graph, names_values_after_layer_and_op_and_numbers_repetitions) {
  Graph g;
  int const x = g.add_input("x", {f32, {3, 5}}, {"batch", "model"});
  auto const stats = std::make_shared<HeadLossStats>(HeadAttrs{});
  int const w = g.add_parameter("w", {f32, {7, 5}}, {"vocab", "model"}, {}, true);
  int const ids = g.add_input("ids", {i32, {3}}, {"batch"});
  EXPECT_EQ(g.value(add(g, relu(), {x})[0]).name, "blocks.0.relu");
  EXPECT_EQ(g.value(add(g, relu(), {x})[0]).name, "blocks.0.relu_2");
  EXPECT_EQ(g.value(add(g, stats, {x, w, ids})[2]).name, "blocks.0.head_loss_stats.2");
  EXPECT_EQ(g.find("blocks.0.relu_2", Role::activation), g.node(1).out[0]);
  EXPECT_EQ(g.find("blocks.0.relu_2", Role::input), -1);
  EXPECT_THAT(g.parameters(), ElementsAre(w));
}

TEST(Graph, names_the_dims_of_outputs_by_the_shard_rule) {
  Graph g;
  int const x = g.add_input("x", {f32, {2, 3, 5}}, {"batch", "tokens", "model"});
  int const w = g.add_parameter("w", {f32, {3, 2, 4, 5}}, {"", "heads", "head_size", "model"}, {}, true);
  LinearAttrs const attrs{.bias = false, .contract = 1, .rows_dims = 2};
  int const qkv = add(g, std::make_shared<Linear>(attrs), {x, w})[0];
  EXPECT_THAT(g.value(qkv).dims, ElementsAre("batch", "tokens", "", "heads", "head_size"));
  auto const out = add(g, std::make_shared<Attention>(AttentionAttrs{}), {qkv});
  EXPECT_THAT(g.value(out[0]).dims, ElementsAre("batch", "tokens", "heads", "head_size"));
  EXPECT_THAT(g.value(out[1]).dims, ElementsAre("batch", "heads", "tokens"));
}

TEST(Graph, makes_an_output_that_changes_a_state_a_version_of_it) {
  Graph g;
  int const qkv = g.add_input("qkv", {f32, {2, 1, 3, 2, 4}}, {"batch", "tokens", "", "heads", "head_size"});
  std::vector<std::string> const dims{"batch", "heads", "context", "head_size"};
  int const k = g.add_state("k", {f32, {2, 2, 9, 4}}, dims, Role::cache);
  int const v = g.add_state("v", {f32, {2, 2, 9, 4}}, dims, Role::cache);
  int const position = g.add_input("position", {i32, {1}}, {""});
  auto const out = add(g, std::make_shared<AttentionCached>(), {qkv, k, v, position});
  EXPECT_EQ(g.value(out[0]).overwrites, -1);
  EXPECT_EQ(g.value(out[1]).overwrites, k);
  EXPECT_EQ(g.value(out[2]).overwrites, v);
  EXPECT_EQ(g.value(out[2]).role, Role::cache);
  EXPECT_EQ(g.value(out[2]).dims, dims);
}

TEST(Graph, wants_a_target_for_exactly_the_outputs_that_accumulate) {
  Graph g;
  int const row = g.add_input("row", {f32, {3}}, {""}), ids = g.add_input("ids", {i32, {3}}, {""});
  int const loss = g.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
  int const narrow = g.add_state("narrow", {f32, {2}}, {""}, Role::output);
  auto const sum = std::make_shared<LossSum>();
  auto const code = [&](OpPtr op, std::vector<int> in, std::vector<int> targets) {
    return test::error_of([&] { add(g, std::move(op), std::move(in), targets); }).code;
  };
  EXPECT_EQ(code(sum, {row, row, row, ids}, {}), "graph.node.target");
  EXPECT_EQ(code(sum, {row, row, row, ids}, {narrow}), "graph.node.target");
  EXPECT_EQ(code(sum, {row, row, row, ids}, {99}), "graph.node.target");
  EXPECT_EQ(code(relu(), {row}, {loss}), "graph.node.target");
  auto const out = add(g, sum, {row, row, row, ids}, {loss});
  EXPECT_EQ(g.value(out[0]).accumulates_into, loss);
  EXPECT_EQ(g.value(out[0]).role, Role::output);
}

TEST(Graph, says_in_which_layer_an_operand_does_not_fit) {
  Graph g;
  int const ids = g.add_input("ids", {i32, {3}}, {""});
  auto const e = test::error_of([&] { add(g, relu(), {ids}); });
  EXPECT_EQ(e.code, "graph.relu.dtype");
  EXPECT_THAT(e.subject, HasSubstr("blocks.0: relu"));
  EXPECT_EQ(test::error_of([&] { add(g, relu(), {5}); }).code, "graph.node.operand");
  EXPECT_EQ(test::error_of([&] { add(g, relu(), {-1}); }).code, "graph.node.operand");
}

TEST(Graph, refuses_values_of_one_name_and_role_and_wrong_numbers_of_dim_names) {
  Graph g;
  g.add_parameter("w", {f32, {3}}, {""}, {}, false);
  EXPECT_NO_THROW(g.add_state("w", {f32, {3}}, {""}, Role::moment1)) << "a moment is named like its parameter";
  EXPECT_EQ(test::error_of([&] { g.add_parameter("w", {f32, {4}}, {""}, {}, false); }).code, "graph.value.unique");
  EXPECT_EQ(test::error_of([&] { g.add_state("w", {f32, {3}}, {""}, Role::moment1); }).code, "graph.value.unique");
  EXPECT_EQ(test::error_of([&] { g.add_input("x", {f32, {3, 4}}, {"batch"}); }).code, "graph.value.dims");
}

TEST(Graph, refuses_two_ops_that_would_draw_the_same_random_numbers) {
  Graph g;
  int const x = g.add_input("x", {f32, {3, 5}}, {"", ""}), rng = g.add_input("rng", {DType::i64, {3}}, {""});
  add(g, dropout(0.5, 7), {x, rng});
  EXPECT_NO_THROW(add(g, dropout(0.5, 8), {x, rng}));
  EXPECT_EQ(test::error_of([&] { add(g, dropout(0.1, 7), {x, rng}); }).code, "graph.dropout.operation");
  EXPECT_NO_THROW(add(g, dropout(0, 7), {x, rng})) << "without a drop nothing is drawn";
  EXPECT_NO_THROW(g.add_node(dropout(0.5, 7), {x, rng}, "blocks.0", Phase::backward)) << "the backward of the first";
}

TEST(Graph, finds_an_output_by_the_name_it_was_given) {
  Graph g;
  int const x = g.add_input("x", {f32, {3, 5}}, {"", ""});
  int const y = add(g, relu(), {x})[0];
  g.mark_output(y, "logits");
  EXPECT_EQ(g.find("logits", Role::output), y);
  EXPECT_EQ(g.find("blocks.0.relu", Role::activation), -1);
  EXPECT_EQ(test::error_of([&] { g.mark_output(x, "logits"); }).code, "graph.value.unique");
}

TEST(OperationId, differs_between_names_and_never_changes) {
  EXPECT_NE(operation_id("blocks.0.attn.dropout"), operation_id("blocks.1.attn.dropout"));
  EXPECT_EQ(operation_id("embed.dropout"), 3334167381U) << "masks and initial weights of old runs depend on it";
}

TEST(Text, shows_values_nodes_and_totals_on_one_line_each) {
  Graph g;
  int const x = g.add_input("x", {f32, {2, 5}}, {"batch", "model"});
  int const w = g.add_parameter("fc.weight", {f32, {7, 5}}, {"ff", "model"}, {Init::Kind::normal, 0.02}, true);
  LinearAttrs const attrs{.bias = false, .contract = 1, .rows_dims = 1};
  g.add_node(std::make_shared<Linear>(attrs), {x, w}, "fc", Phase::forward);
  EXPECT_EQ(to_text(g),
            "input x f32[2 batch, 5 model]\n"
            "parameter fc.weight f32[7 ff, 5 model] init normal 0.02 decay\n"
            "%0 forward fc linear {bias=0, contract=1, dtype=f32, rows_dims=1} (x, fc.weight) -> fc.linear "
            "f32[2 batch, 7 ff] | flops 140 bytes 236\n"
            "total: 1 nodes, 1 parameters of 35 elements\n"
            "total forward: flops 140 bytes 236\n"
            "total backward: flops 0 bytes 0\n"
            "total update: flops 0 bytes 0\n");
}

}  // namespace
}  // namespace lamina::graph
