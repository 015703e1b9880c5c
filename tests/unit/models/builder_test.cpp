#include "lamina/models/builder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.hpp"
#include "support/tiny_gpt.hpp"

namespace lamina::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// One linear layer on real inputs, and a head.
void build_bag(Builder& b, config::Model const& m) {
  int x = b.input("x", {DType::f32, {b.request().batch, b.request().tokens, m.hidden}}, {"batch", "tokens", "model"});
  {
    auto const scope = b.scope("words");
    auto const inner = b.scope("fc");
    x = b.relu(b.linear("lin", x, {m.ff}, {"ff"}, 1, true, {}, DType::f32));
  }
  auto const scope = b.scope("out");
  b.head(x, b.parameter("weight", {m.vocab, m.ff}, {"vocab", "ff"}, {}, true), -1);
}

TEST(Builder, prefixes_names_with_the_scopes_around_them) {
  Builder b(test::request(Mode::train));
  build_bag(b, test::tiny_gpt());
  EXPECT_EQ(b.path(), "") << "scopes end with their blocks";
  auto const g = b.finish();
  EXPECT_GE(g.find("words.fc.lin.weight", Role::parameter), 0);
  EXPECT_GE(g.find("out.weight", Role::parameter), 0);
  EXPECT_GE(g.find("x", Role::input), 0) << "inputs are global";
  EXPECT_EQ(g.node(0).layer, "words.fc");
}

TEST(Builder, gives_a_linear_layer_the_dims_of_its_input) {
  Builder b(test::request(Mode::train));
  int const x = b.input("x", {DType::f32, {2, 3, 4, 5}}, {"batch", "tokens", "heads", "head_size"});
  int const y = b.linear("out", x, {7}, {"model"}, 2, true, {}, DType::f32);
  auto const& g = b.graph();
  auto const& w = g.value(g.find("out.weight", Role::parameter));
  EXPECT_EQ(w.spec.shape, (Shape{7, 4, 5}));
  EXPECT_THAT(w.dims, ElementsAre("model", "heads", "head_size"));
  EXPECT_TRUE(w.decay);
  EXPECT_FALSE(g.value(g.find("out.bias", Role::parameter)).decay);
  EXPECT_THAT(g.value(y).dims, ElementsAre("batch", "tokens", "model"));
  EXPECT_EQ(test::error_of([&] { b.linear("bad", x, {7}, {"model"}, 4, true, {}, DType::f32); }).code,
            "models.builder.linear");
}

TEST(Builder, ties_a_parameter_that_is_asked_for_twice) {
  Builder b(test::request(Mode::train));
  int const first = b.parameter("w", {3, 5}, {"", ""}, {}, true);
  EXPECT_EQ(b.parameter("w", {3, 5}, {"", ""}, {}, true), first);
  EXPECT_EQ(test::error_of([&] { b.parameter("w", {5, 3}, {"", ""}, {}, true); }).code, "models.builder.parameter");
  EXPECT_EQ(b.tokens(), b.tokens());
  EXPECT_EQ(test::error_of([&] { b.input("tokens", {DType::i32, {1}}, {""}); }).code, "models.builder.input");
}

TEST(Builder, gives_every_dropout_of_a_layer_its_own_operation) {
  Builder b(test::request(Mode::train));
  auto const scope = b.scope("layer");
  int const x = b.input("x", {DType::f32, {2, 5}}, {"", ""});
  b.dropout(x, 0.5), b.dropout(x, 0.5);
  auto const& nodes = b.graph().nodes();
  ASSERT_EQ(nodes.size(), 2U);
  EXPECT_EQ(nodes[0].op->attributes().integer("operation"), graph::operation_id("layer.dropout"));
  EXPECT_EQ(nodes[1].op->attributes().integer("operation"), graph::operation_id("layer.dropout_2"));
  EXPECT_EQ(b.dropout(x, 0), x);
  Builder eval(test::request(Mode::eval));
  EXPECT_EQ(eval.dropout(x, 0.5), x);
}

TEST(Build, takes_registered_kinds_and_suggests_known_ones) {
  std::vector<Registration> const registered{{"bag", build_bag, {}}};
  auto m = test::tiny_gpt();
  m.kind = "bag";
  auto const g = build(m, test::request(Mode::train), registered);
  EXPECT_GE(g.gradient_of(g.find("words.fc.lin.weight", Role::parameter)), 0);
  m.kind = "bga";
  auto const e = test::error_of([&] { build(m, test::request(Mode::train), registered); });
  EXPECT_EQ(e.code, "models.kind.unknown");
  EXPECT_THAT(e.fix, HasSubstr("bag"));
}

TEST(Build, refuses_a_model_without_the_end_that_its_mode_needs) {
  std::vector<Registration> const registered{{"open",
                                              [](Builder& b, config::Model const&) {
                                                b.relu(b.input("x", {DType::f32, {2}}, {""}));
                                              },
                                              {}}};
  auto m = test::tiny_gpt();
  m.kind = "open";
  auto const code = [&](Mode mode) { return test::error_of([&] { build(m, test::request(mode), registered); }).code; };
  EXPECT_EQ(code(Mode::train), "models.build.loss");
  EXPECT_EQ(code(Mode::decode), "models.build.logits");
}

}  // namespace
}  // namespace lamina::models
