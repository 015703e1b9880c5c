#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/graph/ops/update.hpp"
#include "support/errors.hpp"
#include "support/op_cases.hpp"

namespace lamina::graph {
namespace {

using test::OpCase;

std::vector<std::string> kinds(Graph const& g, Phase phase) {
  std::vector<std::string> out;
  for (auto const& n : g.nodes()) {
    if (n.phase == phase) out.emplace_back(n.op->kind());
  }
  return out;
}

Node const& find_node(Graph const& g, std::string_view kind) {
  for (auto const& n : g.nodes()) {
    if (n.op->kind() == kind) return n;
  }
  ADD_FAILURE() << "no node of kind " << kind;
  return g.node(0);
}

class Cases : public ::testing::TestWithParam<OpCase> {};

TEST_P(Cases, give_every_real_input_a_gradient_of_its_own_spec) {
  auto const& c = GetParam();
  auto const made = test::build_case(c);
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    if (c.in[i].use == OpCase::Use::data) {
      EXPECT_EQ(made.gradients[i], -1) << c.in[i].name;
      continue;
    }
    ASSERT_GE(made.gradients[i], 0) << c.in[i].name;
    auto const& grad = made.graph.value(made.gradients[i]);
    EXPECT_EQ(grad.spec, c.in[i].spec) << c.in[i].name;
    EXPECT_EQ(grad.role == Role::gradient, c.in[i].use == OpCase::Use::parameter) << c.in[i].name;
  }
}

TEST_P(Cases, use_only_what_earlier_nodes_made) {
  auto const made = test::build_case(GetParam());
  for (auto const& n : made.graph.nodes()) {
    for (int const i : n.in) EXPECT_LT(made.graph.value(i).producer, n.id) << n.op->kind();
    for (int const o : n.out) EXPECT_EQ(made.graph.value(o).producer, n.id);
  }
}

auto const name_of_case = [](auto const& p) { return p.param.name; };
INSTANTIATE_TEST_SUITE_P(f32, Cases, ::testing::ValuesIn(test::op_cases(DType::f32)), name_of_case);
INSTANTIATE_TEST_SUITE_P(bf16, Cases, ::testing::ValuesIn(test::op_cases(DType::bf16)), name_of_case);

OpCase find_case(std::string const& name, DType compute) {
  for (auto const& c : test::op_cases(compute)) {
    if (c.name == name) return c;
  }
  ADD_FAILURE() << "no case " << name;
  return {};
}

TEST(Differentiate, rounds_the_gradient_of_an_f32_output_once_for_both_products) {
  auto const made = test::build_case(find_case("linear", DType::bf16));
  EXPECT_THAT(kinds(made.graph, Phase::backward),
              ::testing::ElementsAre("cast", "linear_grad_weight", "linear_grad_input"));
  auto const& weight = find_node(made.graph, "linear_grad_weight");
  auto const& input = find_node(made.graph, "linear_grad_input");
  EXPECT_EQ(weight.in[0], input.in[0]);
  EXPECT_EQ(made.graph.value(weight.in[0]).spec.dtype, DType::bf16);
  EXPECT_THAT(kinds(test::build_case(find_case("linear", DType::f32)).graph, Phase::backward),
              ::testing::ElementsAre("linear_grad_weight", "linear_grad_input"));
}

TEST(Differentiate, folds_the_other_path_of_a_residual_into_the_norm) {
  auto const made = test::build_case(find_case("layer_norm_residual", DType::bf16));
  EXPECT_THAT(kinds(made.graph, Phase::backward), ::testing::ElementsAre("layer_norm_grad"));
  auto const& n = find_node(made.graph, "layer_norm_grad");
  EXPECT_EQ(n.in.size(), 6U);
  EXPECT_EQ(n.in.back(), made.upstream.back());
}

TEST(Differentiate, repeats_the_mask_of_a_dropout_in_its_backward) {
  auto const made = test::build_case(find_case("dropout", DType::f32));
  auto const& nodes = made.graph.nodes();
  EXPECT_EQ(kinds(made.graph, Phase::backward), std::vector<std::string>{"dropout"});
  EXPECT_EQ(find_node(made.graph, "dropout").op->attributes(), nodes.back().op->attributes());
  EXPECT_EQ(find_node(made.graph, "dropout").in[1], nodes.back().in[1]) << "the same rng";
}

TEST(Differentiate, makes_one_op_of_the_statistics_and_their_sum) {
  auto const made = test::build_case(find_case("head_loss_bias", DType::bf16));
  EXPECT_THAT(kinds(made.graph, Phase::backward), ::testing::ElementsAre("head_loss_grad"));
  auto const &stats = find_node(made.graph, "head_loss_stats"), &grad = find_node(made.graph, "head_loss_grad");
  auto const& rescale = find_node(made.graph, "softmax_rescale");
  EXPECT_EQ(grad.in,
            (std::vector<int>{stats.in[0], stats.in[1], stats.in[2], stats.in[3], stats.out[0], rescale.out[0]}))
      << "the sum of the whole vocabulary";
}

/// A graph of one source and a loss, to hang ops between them.
struct Chain {
  Graph g;
  int parameter = -1, x = -1, loss = -1;
  explicit Chain(DType t = DType::f32) {
    parameter = g.add_parameter("p", {DType::f32, {3, 5}}, {"", ""}, {}, false);
    x = g.add_node(source = std::make_shared<test::Source>(t), {parameter}, "source", Phase::forward)[0];
    loss = g.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
  }
  int add(OpPtr op, std::vector<int> in) {
    return g.add_node(std::move(op), std::move(in), "layer", Phase::forward)[0];
  }
  void sink(int value) {
    int const r = g.add_input("r" + std::to_string(value), g.value(value).spec, {"", ""});
    g.add_node(std::make_shared<test::Sink>(), {value, r}, "sink", Phase::forward, {loss});
  }
  std::shared_ptr<test::Source> source;
};

TEST(Differentiate, sums_the_contributions_to_one_activation) {
  Chain c;
  auto const gelu = std::make_shared<Activation>(Activation::Function::gelu);
  c.sink(c.add(gelu, {c.x})), c.sink(c.add(gelu, {c.x})), c.sink(c.add(gelu, {c.x}));
  differentiate(c.g, c.loss);
  EXPECT_THAT(kinds(c.g, Phase::backward), ::testing::ElementsAre("gelu_grad", "gelu_grad", "add", "gelu_grad", "add"));
  EXPECT_EQ(c.source->gradient(), c.g.nodes().back().out[0]);
}

TEST(Differentiate, sums_bf16_contributions_in_f32) {
  Chain c(DType::bf16);
  auto const relu = std::make_shared<Activation>(Activation::Function::relu);
  c.sink(c.add(relu, {c.x})), c.sink(c.add(relu, {c.x}));
  differentiate(c.g, c.loss);
  EXPECT_THAT(kinds(c.g, Phase::backward), ::testing::ElementsAre("relu_grad", "relu_grad", "cast", "add", "cast"));
  EXPECT_EQ(c.g.value(c.source->gradient()).spec.dtype, DType::bf16);
}

TEST(Differentiate, counts_an_operand_that_is_used_twice_by_one_op_twice) {
  Chain c;
  c.sink(c.add(std::make_shared<Add>(), {c.x, c.x}));
  differentiate(c.g, c.loss);
  EXPECT_THAT(kinds(c.g, Phase::backward), ::testing::ElementsAre("add"));
}

TEST(Differentiate, leaves_out_what_depends_on_no_parameter) {
  Graph g;
  int const x = g.add_input("x", {DType::f32, {3, 5}}, {"", ""});
  int const w = g.add_parameter("w", {DType::f32, {7, 5}}, {"", ""}, {}, true);
  int const unused = g.add_parameter("unused", {DType::f32, {7}}, {""}, {}, true);
  LinearAttrs const attrs{.bias = false, .contract = 1, .rows_dims = 1};
  int const y = g.add_node(std::make_shared<Linear>(attrs), {x, w}, "fc", Phase::forward)[0];
  g.add_node(std::make_shared<Activation>(Activation::Function::relu), {y}, "aside", Phase::forward);
  int const loss = g.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
  int const r = g.add_input("r", {DType::f32, {3, 7}}, {"", ""});
  g.add_node(std::make_shared<test::Sink>(), {y, r}, "sink", Phase::forward, {loss});
  differentiate(g, loss);
  EXPECT_THAT(kinds(g, Phase::backward), ::testing::ElementsAre("linear_grad_weight"))
      << "no gradient of the input data, none of a branch that the loss does not see";
  EXPECT_GE(g.gradient_of(w), 0);
  EXPECT_EQ(g.gradient_of(unused), -1);
}

TEST(Differentiate, accumulates_all_uses_of_a_tied_parameter_into_one_gradient) {
  Graph g;
  int const w = g.add_parameter("w", {DType::f32, {11, 5}}, {"vocab", "model"}, {}, true);
  int const ids = g.add_input("ids", {DType::i32, {2, 3}}, {"batch", "tokens"});
  int const x = g.add_node(std::make_shared<Embedding>(Embedding::Attrs{}), {w, ids}, "embed", Phase::forward)[0];
  auto const stats = g.add_node(std::make_shared<HeadLossStats>(HeadAttrs{}), {x, w, ids}, "head", Phase::forward);
  int const loss = g.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
  int const sum =
      g.add_node(std::make_shared<SoftmaxRescale>(), {stats[1], stats[0], stats[0]}, "head", Phase::forward)[0];
  g.add_node(std::make_shared<LossSum>(), {stats[0], sum, stats[2], ids}, "head", Phase::forward, {loss});
  differentiate(g, loss);
  int const grad = g.gradient_of(w);
  EXPECT_EQ(g.value(find_node(g, "head_loss_grad").out[1]).accumulates_into, grad);
  EXPECT_EQ(g.value(find_node(g, "embedding_grad").out[0]).accumulates_into, grad);
  EXPECT_EQ(g.value(grad).dims, g.value(w).dims);
  EXPECT_EQ(g.find("w", Role::gradient), grad);
  EXPECT_EQ(g.value(grad).parameter, w);
}

TEST(Differentiate, refuses_what_it_cannot_do) {
  auto const code = [](Chain& c) { return test::error_of([&] { differentiate(c.g, c.loss); }).code; };
  Chain nothing;
  EXPECT_EQ(code(nothing), "graph.differentiate.loss");
  Chain select;
  select.g.add_input("last", {DType::i32, {1}}, {""});
  int const y = select.add(std::make_shared<SelectToken>(), {select.x, select.g.find("last", Role::input)});
  int const r = select.g.add_input("r", {DType::f32, {3}}, {""});
  select.g.add_node(std::make_shared<test::Sink>(), {y, r}, "sink", Phase::forward, {select.loss});
  EXPECT_EQ(code(select), "graph.select_token.gradient");
  Chain bare;
  bare.sink(bare.add(std::make_shared<Add>(), {bare.x, bare.parameter}));
  EXPECT_EQ(code(bare), "graph.differentiate.parameter") << "add has no accumulating output for it";
  Chain computed;
  int const in = computed.g.add_input("in", {DType::f32, {2, 5}}, {"", ""});
  LinearAttrs const attrs{.bias = false, .contract = 1, .rows_dims = 1};
  computed.sink(computed.add(std::make_shared<Linear>(attrs), {in, computed.x}));
  EXPECT_EQ(code(computed), "graph.differentiate.target") << "a weight that is not a parameter";
}

/// A head of which `sum` of {max, sum, target} and `targets` go into the loss.
std::string code_of_head(bool rescaled, bool own_targets) {
  Graph g;
  int const ids = g.add_input("ids", {DType::i32, {2, 3}}, {"", ""});
  int const other = g.add_input("other", {DType::i32, {2, 3}}, {"", ""});
  int const w = g.add_parameter("w", {DType::f32, {11, 5}}, {"", ""}, {}, true);
  int const x = g.add_input("x", {DType::f32, {2, 3, 5}}, {"", "", ""});
  auto const s = g.add_node(std::make_shared<HeadLossStats>(HeadAttrs{}), {x, w, ids}, "head", Phase::forward);
  int const loss = g.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
  int const sum = g.add_node(std::make_shared<SoftmaxRescale>(), {s[1], s[0], s[0]}, "head", Phase::forward)[0];
  g.add_node(std::make_shared<LossSum>(), {s[0], rescaled ? sum : s[1], s[2], own_targets ? ids : other}, "head",
             Phase::forward, {loss});
  return test::error_of([&] { differentiate(g, loss); }).code;
}

TEST(Differentiate, refuses_statistics_that_are_not_those_of_one_head) {
  EXPECT_EQ(code_of_head(true, false), "graph.loss_sum.gradient");
  EXPECT_EQ(code_of_head(false, true), "graph.loss_sum.gradient") << "the sum is not relative to the common maximum";
}

}  // namespace
}  // namespace lamina::graph
