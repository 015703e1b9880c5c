#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "lamina/base/text.hpp"
#include "lamina/graph/ops/activation.hpp"
#include "lamina/graph/ops/attention.hpp"
#include "lamina/graph/ops/cross_entropy.hpp"
#include "lamina/graph/ops/dropout.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/embedding.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/loss.hpp"
#include "lamina/graph/ops/mse.hpp"
#include "lamina/graph/ops/update.hpp"
#include "lamina/graph/shard_rule.hpp"
#include "lamina/tensor/packed.hpp"
#include "support/errors.hpp"

namespace lamina::graph {
namespace {

constexpr auto f32 = DType::f32, bf16 = DType::bf16, i32 = DType::i32, i64 = DType::i64, f64 = DType::f64;
using Specs = std::vector<TensorSpec>;

/// An op, inputs that fit, its outputs, and inputs that do not fit with the rule they break.
struct Row {
  std::string name;
  OpPtr op;
  Specs in, out;
  struct Bad {
    int input;  ///< replaced by `spec`; -1: the last one is missing
    TensorSpec spec;
    std::string rule;
  };
  std::vector<Bad> bad;
};

void PrintTo(Row const& row, std::ostream* out) { *out << row.name; }

OpPtr embedding(bool positions, bool offset) {
  return std::make_shared<Embedding>(Embedding::Attrs{.positions = positions, .offset = offset});
}
OpPtr norm(DType t) { return std::make_shared<LayerNorm>(LayerNorm::Attrs{.dtype = t}); }
OpPtr norm_grad(bool residual) { return std::make_shared<LayerNormGrad>(LayerNormGrad::Attrs{.residual = residual}); }
OpPtr attention(double p) { return std::make_shared<Attention>(AttentionAttrs{.p = p, .operation = 1}); }
OpPtr attention_grad(double p) { return std::make_shared<AttentionGrad>(AttentionAttrs{.p = p, .operation = 1}); }
LinearAttrs linear(bool bias, int contract, int rows, DType t) {
  return {.bias = bias, .contract = contract, .rows_dims = rows, .dtype = t};
}

// B 2, T 3, D 5, N 2, H 4, F 7, V 11, P 6
TensorSpec const ids{i32, {2, 3}}, x{f32, {2, 3, 5}}, xb{bf16, {2, 3, 5}}, row{f32, {2, 3}}, d{f32, {5}};
TensorSpec const qkv{bf16, {2, 3, 3, 2, 4}}, heads{bf16, {2, 3, 2, 4}}, lse{f32, {2, 2, 3}}, rng{i64, {3}};
TensorSpec const cache{bf16, {2, 2, 6, 4}}, one{i32, {1}}, loss{f64, {2}}, hyper{f64, {4}}, w{f32, {11, 5}};

std::vector<Row> const& rows() {
  using Function = Activation::Function;
  static std::vector<Row> const all{
      {"embedding",
       embedding(false, false),
       {{f32, {11, 5}}, ids},
       {x},
       {{-1, {}, "operands"},
        {0, {bf16, {11, 5}}, "dtype"},
        {0, {f32, {11}}, "ndim"},
        {1, {i64, {2, 3}}, "dtype"},
        {1, {i32, {6}}, "ndim"}}},
      {"embedding_positions",
       embedding(true, true),
       {{f32, {11, 5}}, ids, {f32, {6, 5}}, one},
       {x},
       {{2, {f32, {6, 4}}, "shape"},
        {2, {f32, {2, 5}}, "shape"},
        {2, {bf16, {6, 5}}, "dtype"},
        {3, {i64, {1}}, "dtype"},
        {3, {i32, {2}}, "shape"}}},
      {"embedding_grad",
       std::make_shared<EmbeddingGrad>(EmbeddingGrad::Attrs{true, 11, 6}),
       {x, ids},
       {{f32, {11, 5}}, {f32, {6, 5}}},
       {{0, xb, "dtype"}, {0, row, "ndim"}, {1, {i32, {2, 4}}, "shape"}, {1, row, "dtype"}}},
      {"dropout",
       std::make_shared<Dropout>(Dropout::Attrs{.p = 0.5}),
       {xb, rng},
       {xb},
       {{0, ids, "dtype"}, {0, {f32, {}}, "ndim"}, {1, {i64, {2}}, "shape"}, {1, {i32, {3}}, "dtype"}}},
      {"layer_norm",
       norm(bf16),
       {x, d, d},
       {xb, row, row},
       {{0, xb, "dtype"}, {0, d, "ndim"}, {1, {f32, {4}}, "shape"}, {2, {bf16, {5}}, "dtype"}, {-1, {}, "operands"}}},
      {"add_layer_norm",
       std::make_shared<AddLayerNorm>(LayerNorm::Attrs{.dtype = bf16}),
       {x, xb, d, d},
       {x, xb, row, row},
       {{0, xb, "dtype"}, {1, {f32, {2, 3, 4}}, "shape"}, {2, {f32, {3}}, "shape"}, {3, {f64, {5}}, "dtype"}}},
      {"layer_norm_grad",
       norm_grad(false),
       {xb, x, d, row, row},
       {x, d, d},
       {{0, ids, "dtype"},
        {1, xb, "dtype"},
        {1, {f32, {2, 3, 4}}, "shape"},
        {2, {f32, {4}}, "shape"},
        {3, {f32, {3, 2}}, "shape"},
        {4, {f32, {2}}, "shape"}}},
      {"layer_norm_grad_residual",
       norm_grad(true),
       {x, x, d, row, row, x},
       {x, d, d},
       {{5, xb, "dtype"}, {5, row, "shape"}, {-1, {}, "operands"}}},
      {"linear",
       std::make_shared<Linear>(linear(true, 1, 2, bf16)),
       {xb, {f32, {7, 5}}, {f32, {7}}},
       {{bf16, {2, 3, 7}}},
       {{0, row, "ndim"},
        {0, ids, "dtype"},
        {1, {f32, {7, 6}}, "shape"},
        {1, {f32, {5}}, "ndim"},
        {2, {f32, {5}}, "shape"},
        {2, {bf16, {7}}, "dtype"},
        {-1, {}, "operands"}}},
      {"linear_heads",
       std::make_shared<Linear>(linear(false, 2, 2, f32)),
       {heads, {f32, {5, 2, 4}}},
       {x},
       {{1, {f32, {5, 4, 2}}, "shape"}, {1, {f32, {2, 4}}, "ndim"}}},
      {"linear_gelu",
       std::make_shared<LinearGelu>(linear(true, 1, 2, f32), "gelu"),
       {x, {f32, {7, 5}}, {f32, {7}}},
       {{f32, {2, 3, 7}}, {f32, {2, 3, 7}}},
       {{0, xb, "dtype"}, {1, {f32, {7, 4}}, "shape"}}},
      {"linear_grad_input",
       std::make_shared<LinearGradInput>(linear(true, 1, 2, bf16)),
       {{bf16, {2, 3, 3, 2, 4}}, {f32, {3, 2, 4, 5}}},
       {xb},
       {{0, {bf16, {2, 3, 3, 2, 5}}, "shape"}, {0, xb, "ndim"}, {1, {i32, {3, 2, 4, 5}}, "dtype"}}},
      {"linear_grad_weight",
       std::make_shared<LinearGradWeight>(linear(true, 1, 2, f32)),
       {{bf16, {2, 3, 3, 2, 4}}, xb},
       {{f32, {3, 2, 4, 5}}, {f32, {3, 2, 4}}},
       {{1, x, "dtype"}, {1, {bf16, {2, 4, 5}}, "shape"}, {1, {bf16, {3, 5}}, "ndim"}, {0, {bf16, {2, 3}}, "ndim"}}},
      {"gelu", std::make_shared<Activation>(Function::gelu), {xb}, {xb}, {{0, ids, "dtype"}, {-1, {}, "operands"}}},
      {"gelu_grad",
       std::make_shared<ActivationGrad>(Function::gelu),
       {x, x},
       {x},
       {{1, xb, "dtype"}, {1, row, "shape"}}},
      {"relu", std::make_shared<Activation>(Function::relu), {row}, {row}, {{0, loss, "dtype"}}},
      {"relu_grad",
       std::make_shared<ActivationGrad>(Function::relu),
       {xb, xb},
       {xb},
       {{0, ids, "dtype"}, {1, x, "dtype"}}},
      {"attention",
       attention(0),
       {qkv},
       {heads, lse},
       {{0, heads, "ndim"}, {0, {bf16, {2, 3, 2, 2, 4}}, "shape"}, {0, {i32, {2, 3, 3, 2, 4}}, "dtype"}}},
      {"attention_dropout", attention(0.5), {qkv, rng}, {heads, lse}, {{-1, {}, "operands"}, {1, one, "dtype"}}},
      {"attention_grad",
       attention_grad(0.5),
       {heads, qkv, heads, lse, rng},
       {qkv},
       {{0, {f32, {2, 3, 2, 4}}, "dtype"},
        {0, {bf16, {2, 3, 2, 5}}, "shape"},
        {2, qkv, "shape"},
        {3, {f32, {2, 3, 2}}, "shape"},
        {4, {i64, {4}}, "shape"}}},
      {"attention_cached",
       std::make_shared<AttentionCached>(),
       {qkv, cache, cache, one},
       {heads, cache, cache},
       {{1, {f32, {2, 2, 6, 4}}, "dtype"},
        {1, {bf16, {2, 2, 2, 4}}, "shape"},
        {1, {bf16, {2, 6, 2, 4}}, "shape"},
        {2, {bf16, {2, 2, 7, 4}}, "shape"},
        {3, {i32, {}}, "shape"}}},
      {"add",
       std::make_shared<Add>(),
       {x, xb},
       {x},
       {{0, xb, "dtype"}, {1, {f32, {2, 3, 4}}, "shape"}, {1, ids, "dtype"}}},
      {"cast", std::make_shared<Cast>(bf16), {x}, {xb}, {{0, ids, "dtype"}}},
      {"select_token",
       std::make_shared<SelectToken>(),
       {x, one},
       {{f32, {2, 5}}},
       {{0, d, "ndim"}, {1, {i32, {2}}, "shape"}, {1, {i64, {1}}, "dtype"}}},
      {"head_loss_stats",
       std::make_shared<HeadLossStats>(HeadAttrs{.bias = true}),
       {xb, w, {f32, {11}}, ids},
       {row, row, row},
       {{1, {f32, {11, 4}}, "shape"}, {1, d, "ndim"}, {2, d, "shape"}, {3, row, "dtype"}, {3, one, "shape"}}},
      {"softmax_rescale",
       std::make_shared<SoftmaxRescale>(),
       {row, row, row},
       {row},
       {{0, ids, "dtype"}, {1, x, "shape"}, {2, xb, "dtype"}, {-1, {}, "operands"}}},
      {"slice",
       std::make_shared<Slice>(Slice::Attrs{.dim = 1, .parts = 3, .axis = "tp"}),
       {xb},
       {{bf16, {2, 1, 5}}},
       {{0, d, "ndim"}, {0, {bf16, {2, 4, 5}}, "shape"}}},
      {"cross_entropy",
       std::make_shared<CrossEntropy>(),
       {x, ids},
       {loss},
       {{0, xb, "dtype"}, {1, row, "dtype"}, {1, one, "shape"}, {-1, {}, "operands"}}},
      {"cross_entropy_grad",
       std::make_shared<CrossEntropyGrad>(),
       {x, ids},
       {x},
       {{0, xb, "dtype"}, {1, one, "shape"}}},
      {"accuracy", std::make_shared<Accuracy>(), {x, ids}, {loss}, {{0, xb, "dtype"}, {1, one, "shape"}}},
      {"mse",
       std::make_shared<Mse>(),
       {x, x, {i32, {2}}},
       {loss},
       {{0, xb, "dtype"}, {1, row, "shape"}, {2, one, "shape"}, {2, {i64, {2}}, "dtype"}}},
      {"mse_grad", std::make_shared<MseGrad>(), {x, x, {i32, {2}}}, {x}, {{1, w, "shape"}, {2, ids, "shape"}}},
      {"loss_sum",
       std::make_shared<LossSum>(),
       {row, row, row, ids},
       {loss},
       {{0, x, "shape"}, {2, {bf16, {2, 3}}, "dtype"}, {3, row, "dtype"}}},
      {"head_loss_grad",
       std::make_shared<HeadLossGrad>(HeadAttrs{.dtype = bf16}),
       {xb, w, ids, row, row},
       {xb, w},
       {{0, ids, "dtype"}, {3, x, "shape"}, {4, ids, "dtype"}}},
      {"head_loss",
       std::make_shared<HeadLoss>(HeadAttrs{.bias = true}),
       {x, w, {f32, {11}}, ids},
       {loss, x, w, {f32, {11}}},
       {{3, {i32, {3, 2}}, "shape"}, {-1, {}, "operands"}}},
      {"head_loss_grad_split",
       std::make_shared<HeadLossGrad>(HeadAttrs{.bias = true, .dtype = f32, .split = true}),
       {xb, w, {f32, {11}}, ids, row, row},
       {x, {bf16, {2, 3, 11}}},
       {{2, d, "shape"}}},
      {"head_loss_split",
       std::make_shared<HeadLoss>(HeadAttrs{.split = true}),
       {x, w, ids},
       {loss, x, {f32, {2, 3, 11}}},
       {{2, {i32, {3, 2}}, "shape"}}},
      {"adamw",
       std::make_shared<AdamW>(AdamW::Attrs{}),
       {w, w, w, w, hyper},
       {w, w, w},
       {{0, xb, "dtype"}, {1, x, "shape"}, {3, x, "shape"}, {4, loss, "shape"}, {4, x, "dtype"}}},
      {"sgd", std::make_shared<Sgd>(Sgd::Attrs{}), {w, w, w, hyper}, {w, w}, {{2, x, "shape"}, {3, rng, "dtype"}}},
      {"square_norm", std::make_shared<SquareNorm>(3), {w, d, x}, {loss}, {{1, xb, "dtype"}, {-1, {}, "operands"}}},
      {"pack_weight",
       std::make_shared<PackWeight>(PackWeight::Attrs{PackWeight::Use::forward, 11, 5, 64, bf16}),
       {w},
       {{DType::u8, {packed_weight_bytes(11, 5, bf16)}}},
       {{0, x, "shape"}, {0, ids, "dtype"}}},
  };
  return all;
}

class Infer : public ::testing::TestWithParam<Row> {};

TEST_P(Infer, gives_the_outputs_of_fitting_inputs) { EXPECT_EQ(GetParam().op->infer(GetParam().in), GetParam().out); }

TEST_P(Infer, refuses_each_misfit_by_its_rule) {
  auto const& [name, op, in, out, bad] = GetParam();
  for (auto const& b : bad) {
    auto wrong = in;
    if (b.input < 0) {
      wrong.pop_back();
    } else {
      wrong[static_cast<std::size_t>(b.input)] = b.spec;
    }
    auto const e = test::error_of([&] { op->infer(wrong); });
    EXPECT_EQ(e.code, text("graph.", op->kind(), '.', b.rule)) << "input " << b.input << ' ' << b.spec;
    if (b.input >= 0) {
      EXPECT_THAT(e.found, ::testing::HasSubstr(text(b.spec))) << e.code;
    }
  }
}

TEST_P(Infer, agrees_with_the_shard_rule) {
  auto const& [name, op, in, out, bad] = GetParam();
  EXPECT_NO_THROW(expand_rule(op->shard_rule(), in, out, op->kind()));
}

TEST_P(Infer, overwrites_only_what_has_its_spec) {
  auto const& [name, op, in, out, bad] = GetParam();
  for (int o = 0; o < static_cast<int>(out.size()); ++o) {
    int const i = op->overwrites(o);
    if (i < 0) continue;
    EXPECT_EQ(out[static_cast<std::size_t>(o)], in[static_cast<std::size_t>(i)]);
    EXPECT_FALSE(op->accumulates(o));
  }
}

TEST_P(Infer, counts_work_and_scratch_without_surprise) {
  auto const& [name, op, in, out, bad] = GetParam();
  EXPECT_GT(op->cost(in).bytes, 0);
  EXPECT_GE(op->cost(in).flops, 0);
  EXPECT_GE(op->scratch_bytes(in, 3), op->scratch_bytes(in, 1));
}

INSTANTIATE_TEST_SUITE_P(ops, Infer, ::testing::ValuesIn(rows()), [](auto const& p) { return p.param.name; });

/// How the rule of an op of `rows()` lays letters and marks over its operands.
ExpandedRule rule_of(std::string_view name) {
  auto const& all = rows();
  auto const at = std::find_if(all.begin(), all.end(), [&](Row const& r) { return r.name == name; });
  if (at == all.end()) throw std::invalid_argument(std::string(name));
  return expand_rule(at->op->shard_rule(), at->in, at->out, at->op->kind());
}

TEST(ShardRules, let_the_vocabulary_be_split) {
  auto const stats = rule_of("head_loss_stats"), grad = rule_of("head_loss_grad"), embed = rule_of("embedding");
  EXPECT_TRUE(stats.may_split('v') && stats.contracted('v'));
  EXPECT_TRUE(stats.out[0].max) << "a maximum over the rows that are there";
  EXPECT_FALSE(stats.out[1].max || stats.out[2].max);
  EXPECT_TRUE(grad.may_split('v') && !grad.contracted('v'));
  EXPECT_TRUE(grad.out[0].plus) << "dx is a sum over the vocabulary";
  EXPECT_TRUE(embed.may_split('v') && embed.contracted('v'));
  EXPECT_FALSE(rule_of("head_loss").may_split('v')) << "fused, it needs all logits of a row";
  auto const rescale = rule_of("softmax_rescale");
  EXPECT_TRUE(rescale.in[0].as_is && rescale.in[1].as_is && !rescale.in[2].as_is && rescale.out[0].plus);
}

TEST(ShardRules, tell_gradients_that_are_whole_on_every_rank_from_sums) {
  auto const dense = rule_of("linear_grad_weight"), embed = rule_of("embedding_grad");
  EXPECT_TRUE(dense.out[0].plus && dense.out[1].same) << "dbias does not depend on the input features";
  EXPECT_TRUE(embed.out[0].plus && embed.out[1].same) << "nor the positions' gradient on the words";
  EXPECT_TRUE(embed.may_split('v') && !embed.contracted('v'));
}

TEST(ShardRules, let_tokens_and_heads_be_split_under_dropout) {
  EXPECT_TRUE(rule_of("dropout").may_split('A'));
  EXPECT_TRUE(rule_of("attention_dropout").may_split('n'));
  EXPECT_TRUE(rule_of("attention_grad").may_split('n'));
  EXPECT_FALSE(rule_of("attention_dropout").may_split('t'));
}

TEST(Attributes, out_of_range_are_refused_when_the_op_is_made) {
  auto const code = [](auto const& f) { return test::error_of(f).code; };
  EXPECT_EQ(code([] { Dropout({.p = 1}); }), "graph.dropout.attribute");
  EXPECT_EQ(code([] { Dropout({.p = -0.1}); }), "graph.dropout.attribute");
  EXPECT_EQ(code([] { LayerNorm({.eps = 0}); }), "graph.layer_norm.attribute");
  EXPECT_EQ(code([] { Linear({.contract = 0}); }), "graph.linear.attribute");
  EXPECT_EQ(code([] { Linear({.rows_dims = 5}); }), "graph.linear.attribute");
  EXPECT_EQ(code([] { Linear({.dtype = DType::f64}); }), "graph.linear.attribute");
  EXPECT_EQ(code([] { LinearGelu({}, "tanh"); }), "graph.linear_gelu.activation");
  EXPECT_EQ(code([] { Attention({.p = 2}); }), "graph.attention.attribute");
  EXPECT_EQ(code([] { Embedding({.positions = false, .offset = true}); }), "graph.embedding.attribute");
  EXPECT_EQ(code([] { Cast(DType::i32); }), "graph.cast.attribute");
  EXPECT_EQ(code([] { Slice({.dim = 6, .axis = "tp"}); }), "graph.slice.attribute");
  EXPECT_EQ(code([] { Slice({.parts = 0, .axis = "tp"}); }), "graph.slice.attribute");
  EXPECT_EQ(code([] { AdamW({.beta2 = 1}); }), "graph.adamw.attribute");
  EXPECT_EQ(code([] { Sgd({.weight_decay = -1}); }), "graph.sgd.attribute");
  EXPECT_EQ(code([] { SquareNorm(0); }), "graph.square_norm.attribute");
  EXPECT_EQ(code([] { PackWeight({}); }), "graph.pack_weight.attribute");
}

}  // namespace
}  // namespace lamina::graph
