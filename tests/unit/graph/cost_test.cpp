#include <gtest/gtest.h>

#include "lamina/graph/ops/attention.hpp"
#include "lamina/graph/ops/embedding.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/loss.hpp"
#include "lamina/graph/ops/update.hpp"
#include "lamina/tensor/packed.hpp"

namespace lamina::graph {
namespace {

using Specs = std::vector<TensorSpec>;
constexpr auto f32 = DType::f32, bf16 = DType::bf16, i32 = DType::i32;
constexpr std::int64_t mebi = 1 << 20;

TEST(Cost, of_a_product_is_two_flops_per_multiply_add) {
  Linear const op({.bias = true, .contract = 1, .rows_dims = 2});
  Specs const in{{f32, {2, 3, 5}}, {f32, {7, 5}}, {f32, {7}}};
  EXPECT_EQ(op.cost(in).flops, 2 * (2 * 3) * 7 * 5);
  EXPECT_EQ(op.cost(in).bytes, 4 * (30 + 35 + 7 + 42)) << "every input and output once";
}

TEST(Cost, of_the_two_backward_products_is_twice_the_forward) {
  LinearAttrs const a{.bias = false, .contract = 2, .rows_dims = 2};
  Specs const forward{{f32, {2, 3, 2, 5}}, {f32, {7, 2, 5}}};
  Specs const dx{{f32, {2, 3, 7}}, forward[1]}, dw{dx[0], forward[0]};
  EXPECT_EQ(LinearGradInput(a).cost(dx).flops, Linear(a).cost(forward).flops);
  EXPECT_EQ(LinearGradWeight(a).cost(dw).flops, Linear(a).cost(forward).flops);
}

TEST(Cost, of_causal_attention_is_half_the_square) {
  std::int64_t const b = 2, t = 5, n = 3, h = 7;
  TensorSpec const qkv{f32, {b, t, 3, n, h}}, y{f32, {b, t, n, h}}, lse{f32, {b, n, t}};
  EXPECT_EQ(Attention({.causal = false}).cost(Specs{qkv}).flops, 2 * 2 * b * n * h * t * t);
  EXPECT_EQ(Attention({.causal = true}).cost(Specs{qkv}).flops, 2 * 2 * b * n * h * t * (t + 1) / 2);
  EXPECT_EQ(AttentionGrad({.causal = true}).cost(Specs{y, qkv, y, lse}).flops, 4 * 2 * b * n * h * t * (t + 1) / 2)
      << "recomputed scores are not counted twice";
}

TEST(Cost, of_the_fused_head_is_that_of_its_parts) {
  Specs const in{{f32, {2, 3, 5}}, {f32, {11, 5}}, {i32, {2, 3}}};
  Specs const grad{in[0], in[1], in[2], {f32, {2, 3}}, {f32, {2, 3}}};
  auto const stats = HeadLossStats({}).cost(in).flops, back = HeadLossGrad({}).cost(grad).flops;
  EXPECT_EQ(stats, 2 * 6 * 11 * 5);
  EXPECT_EQ(back, 2 * stats);
  EXPECT_EQ(HeadLoss({}).cost(in).flops, stats + back);
}

TEST(Cost, of_an_embedding_does_not_grow_with_the_table) {
  auto const bytes = [](std::int64_t vocab) {
    return Embedding({}).cost(Specs{{f32, {vocab, 5}}, {i32, {2, 3}}}).bytes;
  };
  EXPECT_EQ(bytes(11), bytes(50257));
}

TEST(Cost, of_adamw_is_28_bytes_an_element) {
  TensorSpec const w{f32, {1000}}, hyper{DType::f64, {4}};
  EXPECT_EQ(AdamW({}).cost(Specs{w, w, w, w, hyper}).bytes, 28 * 1000 + 32);
}

TEST(Scratch, of_a_product_has_room_for_its_weight_unless_that_is_packed) {
  Linear const op({.bias = false, .contract = 1, .rows_dims = 1});
  Specs const plain{{bf16, {3, 5}}, {f32, {7, 5}}};
  Specs const packed{plain[0], {DType::u8, {packed_weight_bytes(7, 5, bf16)}}};
  EXPECT_EQ(op.scratch_bytes(packed, 2), 5 * mebi);
  EXPECT_EQ(op.scratch_bytes(plain, 2), 5 * mebi + packed_weight_bytes(7, 5, bf16));
}

TEST(Scratch, of_the_rest_is_as_the_table_of_the_module_says) {
  LinearGradWeight const dw({.bias = true, .contract = 1, .rows_dims = 2});
  EXPECT_EQ(dw.scratch_bytes(Specs{{f32, {2, 3, 7}}, {f32, {2, 3, 5}}}, 2), 5 * mebi + 4 * 2 * 7 + 192 + 128);
  TensorSpec const x{f32, {33, 5}}, d{f32, {5}}, row{f32, {33}};
  EXPECT_EQ(LayerNormGrad({}).scratch_bytes(Specs{x, x, d, row, row}, 7), 8 * 5 * 3) << "independent of the threads";
  TensorSpec const big{f32, {4096, 5}}, rows{f32, {4096}};
  EXPECT_EQ(LayerNormGrad({}).scratch_bytes(Specs{big, big, d, rows, rows}, 7), 8 * 5 * 64);
  TensorSpec const qkv{f32, {1, 65, 3, 2, 17}}, y{f32, {1, 65, 2, 17}}, lse{f32, {1, 2, 65}};
  EXPECT_EQ(Attention({}).scratch_bytes(Specs{qkv}, 3), 4 * 3 * (256 * 32 + 8448));
  EXPECT_EQ(AttentionGrad({}).scratch_bytes(Specs{y, qkv, y, lse}, 3), 4 * 3 * (4 * 128 * 32 + 320 * 32 + 12544));
}

TEST(Scratch, of_the_head_holds_as_many_rows_as_a_chunk) {
  auto const bytes = [](DType t, std::int64_t rows, std::int64_t vocab) {
    return HeadLoss({}).scratch_bytes(Specs{{t, {1, rows, 5}}, {f32, {vocab, 5}}, {i32, {1, rows}}}, 1);
  };
  std::int64_t const fixed = 3 * mebi + 132 * 1024;
  EXPECT_EQ(bytes(f32, 3, 11), fixed + 4 * 16 * (11 + 1024) + 16 * 16) << "three rows are rounded up to sixteen";
  EXPECT_EQ(bytes(f32, 1600, 50257), fixed + 4 * 800 * std::int64_t{50257 + 1024} + 16 * 1600)
      << "2^26 / 50257 = 1335: two of 800";
  EXPECT_EQ(bytes(f32, 1600, 1 << 20), fixed + 4 * 240 * std::int64_t{(1 << 20) + 1024} + 16 * 1600)
      << "seven of at most 256";
  EXPECT_EQ(bytes(bf16, 3, 11), bytes(f32, 3, 11) + 4 * 16 * 5 + packed_weight_bytes(11, 5, bf16));
}

}  // namespace
}  // namespace lamina::graph
