#include "lamina/graph/ops/exact.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/update.hpp"
#include "lamina/graph/shard_rule.hpp"
#include "support/errors.hpp"

namespace lamina::graph {
namespace {

constexpr auto f32 = DType::f32, bf16 = DType::bf16, f64 = DType::f64;
TensorSpec const x{f32, {2, 3, 5}}, xb{bf16, {2, 3, 5}}, xd{f64, {2, 3, 5}}, row{f32, {2, 3}}, d{f32, {5}},
    dd{f64, {5}};
TensorSpec const w{f32, {11, 5}}, wd{f64, {11, 5}}, v{f32, {11}}, hyper{f64, {4}};
constexpr ExactSums sums{36, 1024};

using Specs = std::vector<TensorSpec>;

TEST(ExactOp, is_the_op_with_f64_in_place_of_the_outputs_it_names) {
  auto const linear = std::make_shared<Linear>(LinearAttrs{.dtype = bf16});
  Exact const op(linear, sums, 1);
  EXPECT_EQ(op.infer(Specs{xb, w, v}), (Specs{{f64, {2, 3, 11}}}));
  EXPECT_EQ(op.kind(), "linear");
  EXPECT_EQ(op.shard_rule().letters, linear->shard_rule().letters);
  EXPECT_EQ(op.cost(Specs{x, w, v}).flops, linear->cost(Specs{x, w, v}).flops);
  EXPECT_TRUE(op.is_weight(1));
  EXPECT_EQ(op.scratch_bytes(Specs{x, w, v}, 2), 0);
  auto const attributes = op.attributes();
  EXPECT_EQ(attributes.integer("fraction"), 36);
  EXPECT_EQ(attributes.real("limit"), 1024);
  EXPECT_EQ(attributes.string("dtype"), "bf16");
  EXPECT_FALSE(attributes.has("logits_fraction"));
  EXPECT_EQ(Exact(linear, sums, 1, {30, 8}).attributes().integer("logits_fraction"), 30);

  Exact const norm(std::make_shared<LayerNormGrad>(LayerNormGrad::Attrs{}), sums, 6);
  EXPECT_EQ(norm.infer(Specs{x, x, d, row, row}), (Specs{x, dd, dd}));
  EXPECT_TRUE(norm.accumulates(1));
  EXPECT_FALSE(norm.accumulates(0));
  EXPECT_EQ(Exact(std::make_shared<LossSum>(), sums, 0).infer(Specs{row, row, row, {DType::i32, {2, 3}}}),
            (Specs{{f64, {2}}}));
}

TEST(ExactOp, refuses_fixed_points_that_f64_does_not_hold) {
  auto const linear = std::make_shared<Linear>(LinearAttrs{});
  EXPECT_EQ(test::error_of([&] { Exact(linear, {52, 1}, 1); }).code, "graph.linear.attribute");
  EXPECT_EQ(test::error_of([&] { Exact(linear, {-1, 1}, 1); }).code, "graph.linear.attribute");
  EXPECT_EQ(test::error_of([&] { Exact(linear, {36, 0}, 1); }).code, "graph.linear.attribute");
}

TEST(HeadLossSum, sums_over_the_vocabulary_which_may_be_cut) {
  for (bool const bias : {false, true}) {
    HeadLossSum const op({.bias = bias, .sums = {40, 64}, .logits = sums});
    Specs const in = bias ? Specs{xb, w, v, row} : Specs{xb, w, row};
    EXPECT_EQ(op.infer(in), (Specs{{f64, {2, 3}}}));
    auto const rule = expand_rule(op.shard_rule(), in, op.infer(in), op.kind());
    EXPECT_TRUE(rule.may_split('v'));
    EXPECT_TRUE(rule.contracted('v'));  // partial(sum)
    EXPECT_FALSE(rule.may_split('d'));
    EXPECT_EQ(op.cost(in).flops, 2 * 6 * 55);
  }
  HeadLossSum const op({.bias = true, .sums = {40, 64}, .logits = sums});
  EXPECT_EQ(test::error_of([&] { (void)op.infer(Specs{x, w, v}); }).code, "graph.head_loss_sum.operands");
  EXPECT_EQ(test::error_of([&] { (void)op.infer(Specs{x, w, d, row}); }).code, "graph.head_loss_sum.shape");
  EXPECT_EQ(test::error_of([&] { (void)op.infer(Specs{x, w, v, x}); }).code, "graph.head_loss_sum.shape");
}

TEST(ExactOp, sums_may_be_added_cast_squared_and_read_by_an_optimizer) {
  EXPECT_EQ(Add().infer(Specs{xd, xd}), Specs{xd});
  EXPECT_EQ(test::error_of([] { (void)Add().infer(Specs{xd, x}); }).code, "graph.add.dtype");
  EXPECT_EQ(Cast(bf16).infer(Specs{xd}), Specs{xb});
  EXPECT_EQ(AdamW({}).infer(Specs{wd, w, w, w, hyper}), (Specs{w, w, w}));
  EXPECT_EQ(Sgd({}).infer(Specs{wd, w, w, hyper}), (Specs{w, w}));
  EXPECT_EQ(SquareNorm(2, true).infer(Specs{wd, dd}), (Specs{{f64, {4}}}));
  EXPECT_EQ(test::error_of([] { (void)SquareNorm(1).infer(Specs{wd}); }).code, "graph.square_norm.dtype");
}

}  // namespace
}  // namespace lamina::graph
