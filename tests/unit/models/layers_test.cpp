#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lamina/models/models.hpp"
#include "support/errors.hpp"
#include "support/tiny_gpt.hpp"

namespace lamina::models {
namespace {

using ::testing::ElementsAre;

config::Model network(std::vector<config::LayerSpec> layers, std::string loss = "cross_entropy") {
  config::Model m;
  m.kind = "layers", m.input = {20}, m.network = std::move(layers), m.loss = std::move(loss);
  return m;
}

config::Model classic() {
  return network({{.op = "linear", .name = "part1.fc1", .out = 50},
                  {.op = "relu", .name = ""},
                  {.op = "dropout", .name = "", .p = 0.2},
                  {.op = "layer_norm", .name = "norm"},
                  {.op = "linear", .name = "part2.fc", .out = 10, .bias = false}});
}

TEST(Layers, have_names_shapes_and_dims_as_written) {
  auto const g = build(classic(), test::request(Mode::train));
  std::vector<std::string> names;
  for (int const p : g.parameters()) names.push_back(g.value(p).name);
  EXPECT_THAT(names, ElementsAre("part1.fc1.weight", "part1.fc1.bias", "norm.weight", "norm.bias", "part2.fc.weight"));
  auto const& w = g.value(g.find("part2.fc.weight", Role::parameter));
  EXPECT_EQ(w.spec.shape, (Shape{10, 50}));
  EXPECT_THAT(w.dims, ElementsAre("part2.fc.out", "part1.fc1.out"));
  EXPECT_TRUE(w.decay);
  EXPECT_FALSE(g.value(g.find("part1.fc1.bias", Role::parameter)).decay);
  EXPECT_EQ(g.value(g.find("x", Role::input)).spec, (TensorSpec{DType::f32, {3, 20}}));
  EXPECT_EQ(g.value(g.find("y", Role::input)).spec, (TensorSpec{DType::i32, {3}}));
  EXPECT_GE(g.find("rng", Role::input), 0);
  std::vector<std::string> layers;
  for (auto const& n : g.nodes()) {
    if (n.phase == graph::Phase::forward) layers.push_back(n.layer);
  }
  EXPECT_THAT(layers, ElementsAre("part1.fc1", "relu1", "dropout1", "norm", "part2.fc", "part2.fc"));
  for (int const p : g.parameters()) EXPECT_GE(g.gradient_of(p), 0) << g.value(p).name;
}

TEST(Layers, without_a_name_get_one_that_no_other_has) {
  EXPECT_THAT(layer_names(network({{.op = "relu", .name = ""},
                                   {.op = "relu", .name = "relu2"},
                                   {.op = "relu", .name = ""},
                                   {.op = "linear", .name = "", .out = 3}})),
              ElementsAre("relu1", "relu2", "relu3", "linear1"));
  EXPECT_EQ(test::error_of([&] {
              layer_names(network({{.op = "relu", .name = "a"}, {.op = "gelu", .name = "a"}}));
            }).code,
            "models.layers.name");
}

TEST(Layers, are_the_same_in_evaluation_also_those_without_an_op) {
  auto m = classic();
  m.input = {4, 5};
  m.network.insert(m.network.begin(), {.op = "flatten", .name = "rows"});
  m.network.push_back({.op = "dropout", .name = "off", .p = 0});
  auto const layers = build(m, test::request(Mode::train)).layers();
  EXPECT_THAT(layers, ElementsAre("rows", "part1.fc1", "relu1", "dropout1", "norm", "part2.fc", "off"));
  auto const eval = build(m, test::request(Mode::eval));
  EXPECT_EQ(eval.layers(), layers);
  for (auto const& l : layers) EXPECT_EQ(eval.is_optional(l), l == "rows" || l == "off") << l;
}

TEST(Layers, have_accuracy_in_eval_of_classes_alone) {
  EXPECT_GE(build(classic(), test::request(Mode::eval)).find("accuracy", Role::output), 0);
  EXPECT_EQ(build(classic(), test::request(Mode::train)).find("accuracy", Role::output), -1);
  EXPECT_EQ(build(classic(), test::request(Mode::eval)).find("rng", Role::input), -1);
  auto values = classic();
  values.loss = "mse";
  auto const g = build(values, test::request(Mode::eval));
  EXPECT_EQ(g.find("accuracy", Role::output), -1);
  EXPECT_EQ(g.value(g.find("y", Role::input)).spec, (TensorSpec{DType::f32, {3, 10}}));
  EXPECT_EQ(g.value(g.find("counted", Role::input)).spec, (TensorSpec{DType::i32, {3}}));
  EXPECT_EQ(layers_outputs(values), 10);
}

TEST(Layers, in_bf16_have_products_in_bf16_and_a_loss_in_f32) {
  auto const g = build(classic(), test::request(Mode::train, DType::bf16));
  for (auto const& n : g.nodes()) {
    if (n.op->kind() == "linear") {
      EXPECT_EQ(g.value(n.in[0]).spec.dtype, DType::bf16);
    }
    if (n.op->kind() == "cross_entropy") {
      EXPECT_EQ(g.value(n.in[0]).spec.dtype, DType::f32);
    }
  }
}

TEST(Layers, over_several_dims_want_to_be_told_that_they_are_flat) {
  auto m = network({{.op = "linear", .name = "", .out = 3}});
  m.input = {4, 5};
  EXPECT_EQ(test::error_of([&] { build(m, test::request(Mode::train)); }).code, "models.layers.flatten");
  m.network.insert(m.network.begin(), {{.op = "relu", .name = ""}, {.op = "flatten", .name = ""}});
  auto const g = build(m, test::request(Mode::train));
  EXPECT_EQ(g.value(g.find("linear1.weight", Role::parameter)).spec.shape, (Shape{3, 20}));
}

TEST(Layers, that_cannot_be_built_say_why) {
  auto const code = [](config::Model const& m, Mode mode) {
    return test::error_of([&] { build(m, test::request(mode)); }).code;
  };
  EXPECT_EQ(code(classic(), Mode::prefill), "models.layers.generate");
  EXPECT_EQ(code(network({}), Mode::train), "models.layers.empty");
  EXPECT_EQ(code(network({{.op = "relu", .name = ""}}), Mode::train), "models.layers.empty");
  EXPECT_EQ(code(network({{.op = "linear", .name = "", .out = 2}}, "hinge"), Mode::train), "models.layers.loss");
  EXPECT_EQ(code(network({{.op = "linear", .name = "", .out = 2}, {.op = "pool", .name = ""}}), Mode::train),
            "models.layers.op");
}

TEST(Layers, begin_uniform_within_one_over_the_root_of_the_inputs) {
  auto m = network({{.op = "linear", .name = "fc", .out = 400}});
  m.input = {25};
  auto const g = build(m, test::request(Mode::train));
  auto const& w = g.value(g.find("fc.weight", Role::parameter));
  std::vector<float> v(10000), part(7);
  fill_initial(w, 5, 0, 10000, v.data());
  double sum = 0, square = 0, most = 0;
  for (auto const x : v) sum += x, square += double{x} * x, most = std::max(most, std::abs(double{x}));
  EXPECT_LE(most, 0.2);
  EXPECT_GT(most, 0.199);
  EXPECT_NEAR(sum / 1e4, 0, 0.005);
  EXPECT_NEAR(square / 1e4, 0.04 / 3, 0.0005);
  fill_initial(w, 5, 4321, 7, part.data());
  EXPECT_EQ(part, std::vector<float>(v.begin() + 4321, v.begin() + 4328)) << "any part is the same";
  fill_initial(g.value(g.find("fc.bias", Role::parameter)), 5, 0, 7, part.data());
  EXPECT_NE(part[0], v[0]);
  EXPECT_NE(part[0], 0);
}

}  // namespace
}  // namespace lamina::models
