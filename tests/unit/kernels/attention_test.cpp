#include "lamina/kernels/attention.hpp"

#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;

struct Case {
  std::int64_t B, T, N, H;
  bool causal = true;
  double p = 0;
  DType dtype = DType::f32;
};

std::int64_t forward_scratch(Case c, int threads = 2) { return 4 * threads * (256 * ((c.H + 15) / 16 * 16) + 8448); }
std::int64_t grad_scratch(Case c, int threads = 2) {
  auto const T64 = (c.T + 63) / 64 * 64, H16 = (c.H + 15) / 16 * 16;
  return 4 * threads * (4 * T64 * H16 + 320 * H16 + 12544);
}

struct Operands {
  explicit Operands(Case const& of)
      : c(of),
        qkv(Tensor::random(c.dtype, {c.B, c.T, 3, c.N, c.H}, 1, 2)),
        rng(Tensor(DType::i64, {3})),
        y(c.dtype, {c.B, c.T, c.N, c.H}),
        lse(DType::f32, {c.B, c.N, c.T}),
        dy(Tensor::random(c.dtype, {c.B, c.T, c.N, c.H}, 2)),
        dqkv(c.dtype, {c.B, c.T, 3, c.N, c.H}),
        scratch(DType::u8, {forward_scratch(c)}),
        scratch_grad(DType::u8, {grad_scratch(c)}) {
    rng.set(0, 77), rng.set(1, 3), rng.set(2, 10);
  }
  Case c;
  Tensor qkv, rng, y, lse, dy, dqkv, scratch, scratch_grad;

  kernels::AttentionArgs forward() {
    return {.qkv = qkv,
            .rng = rng,
            .y = y,
            .lse = lse,
            .scratch = scratch,
            .causal = c.causal,
            .p = c.p,
            .operation = 5,
            .sample = 2};
  }
  kernels::AttentionGradArgs grad() {
    return {.dy = dy,
            .qkv = qkv,
            .y = y,
            .lse = lse,
            .rng = rng,
            .dqkv = dqkv,
            .scratch = scratch_grad,
            .causal = c.causal,
            .p = c.p,
            .operation = 5,
            .sample = 2};
  }
};

class AttentionKernel : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionKernel, and_its_gradient_match_the_reference) {
  Operands fast(GetParam()), slow(GetParam());
  device::Stream stream;
  auto const near = test::rounding(GetParam().dtype);
  kernels::attention(stream, fast.forward());
  kernels::attention_reference(slow.forward());
  EXPECT_TRUE(all_near(fast.y, slow.y, near, near));
  EXPECT_TRUE(all_near(fast.lse, slow.lse, 1e-5, 1e-5));
  fast.y = slow.y, fast.lse = slow.lse;
  kernels::attention_grad(stream, fast.grad());
  kernels::attention_grad_reference(slow.grad());
  EXPECT_TRUE(all_near(fast.dqkv, slow.dqkv, near, 3 * near));
  EXPECT_TRUE(fast.scratch.guarded());
  EXPECT_TRUE(fast.scratch_grad.guarded());
}

INSTANTIATE_TEST_SUITE_P(edges, AttentionKernel,
                         ::testing::Values(Case{1, 1, 1, 1}, Case{2, 5, 3, 4}, Case{1, 64, 2, 64}, Case{1, 65, 1, 17},
                                           Case{2, 63, 1, 16}, Case{1, 130, 1, 33}, Case{1, 131, 2, 8, false},
                                           Case{1, 64, 1, 128, false}, Case{1, 67, 1, 80, false},
                                           Case{1, 1, 2, 65, false}, Case{2, 37, 2, 7, true, 0.25},
                                           Case{1, 66, 2, 16, false, 0.5}, Case{1, 70, 2, 64, true, 0, DType::bf16},
                                           Case{2, 19, 1, 5, false, 0.1, DType::bf16}));

TEST(Attention, of_a_part_of_the_heads_is_that_part_of_the_whole_bit_by_bit) {
  device::Stream stream;
  for (int const ranks : {2, 3}) {
    Case const c{2, 70, 6, 5, true, 0.3}, part{c.B, c.T, c.N / ranks, c.H, true, 0.3};
    Operands whole(c);
    kernels::attention(stream, whole.forward());
    kernels::attention_grad(stream, whole.grad());
    for (int rank = 0; rank < ranks; ++rank) {
      Operands own(part), expected(part);
      auto const first = rank * part.N;
      // Element of [outer, N, inner] of all heads that element i of the part's is.
      auto const at = [&](std::int64_t i, std::int64_t inner) {
        return (i / inner / part.N * c.N + first + i / inner % part.N) * inner + i % inner;
      };
      auto const take = [&](Tensor& to, Tensor const& from, std::int64_t inner) {
        for (std::int64_t i = 0; i < to.spec().count(); ++i) to.set(i, from.get(at(i, inner)));
      };
      take(own.qkv, whole.qkv, c.H), take(own.dy, whole.dy, c.H);
      take(expected.y, whole.y, c.H), take(expected.lse, whole.lse, c.T), take(expected.dqkv, whole.dqkv, c.H);
      auto forward = own.forward();
      auto grad = own.grad();
      forward.heads = grad.heads = {.first = first, .count = c.N};
      kernels::attention(stream, forward);
      kernels::attention_grad(stream, grad);
      EXPECT_TRUE(own.y == expected.y && own.lse == expected.lse) << rank << " of " << ranks;
      EXPECT_TRUE(own.dqkv == expected.dqkv) << rank << " of " << ranks;
      kernels::attention_reference(forward);
      EXPECT_TRUE(all_near(own.y, expected.y, 1e-5, 1e-5)) << "the reference has the same mask";
      forward.heads.count = first + part.N - 1;
      EXPECT_EQ(test::error_of([&] { kernels::attention(stream, forward); }).code, "kernels.attention.shape");
    }
  }
}

TEST(Attention, survives_scores_of_a_hundred) {  // exp of the raw scores would overflow
  Operands fast({1, 90, 1, 16}), slow({1, 90, 1, 16});
  for (std::int64_t i = 0; i < fast.qkv.spec().count(); ++i) {
    double const v = fast.qkv.get(i) * 8;
    fast.qkv.set(i, v), slow.qkv.set(i, v);
  }
  device::Stream stream;
  kernels::attention(stream, fast.forward());
  kernels::attention_reference(slow.forward());
  EXPECT_TRUE(all_near(fast.y, slow.y, 1e-3, 1e-3));  // f32 scores of 100 carry 1e-5
  EXPECT_TRUE(all_near(fast.lse, slow.lse, 1e-6));
}

TEST(Attention, passes_a_nan_on) {
  Operands o({1, 70, 1, 8});
  o.qkv.set(0, std::nan(""));  // query of token 0
  device::Stream stream;
  kernels::attention(stream, o.forward());
  EXPECT_TRUE(std::isnan(o.y.get(0)));
  EXPECT_FALSE(std::isnan(o.y.get(8)));
}

TEST(Attention, gives_the_same_bits_on_one_and_two_threads) {
  test::expect_same_bits_on_one_and_two_threads([] {
    Operands o({2, 150, 3, 32, true, 0.1});
    device::Stream stream;
    kernels::attention(stream, o.forward());
    kernels::attention_grad(stream, o.grad());
    return std::vector{o.y, o.lse, o.dqkv};
  });
}

TEST(Attention, masks_a_sample_alike_whatever_micro_batch_it_is_in) {
  Case const whole_case{2, 20, 1, 8, true, 0.5};
  Operands whole(whole_case), second({1, 20, 1, 8, true, 0.5});
  auto const half = second.qkv.spec().count();
  for (std::int64_t i = 0; i < half; ++i) second.qkv.set(i, whole.qkv.get(half + i));
  device::Stream stream;
  kernels::attention(stream, whole.forward());
  auto args = second.forward();
  args.sample = 3;
  kernels::attention(stream, args);
  for (std::int64_t i = 0; i < second.y.spec().count(); ++i) {
    ASSERT_EQ(second.y.get(i), whole.y.get(second.y.spec().count() + i)) << i;
  }
}

TEST(AttentionCached, of_chunks_and_single_tokens_equals_attention_of_the_whole) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    Case const c{2, 150, 2, 24, true, 0, dtype};
    Operands whole(c);
    kernels::attention_reference(whole.forward());
    Tensor k(dtype, {c.B, c.N, 160, c.H}), v(dtype, {c.B, c.N, 160, c.H}), y(dtype, {c.B, c.T, c.N, c.H});
    Tensor scratch(DType::u8, {forward_scratch(c)});
    device::Stream stream;
    auto const per_token = 3 * c.N * c.H;
    for (std::int64_t at = 0, n = 0; at < c.T; at += n) {
      n = at == 0 ? 70 : at == 70 ? 65 : at == 135 ? 3 : 1;
      Tensor part(dtype, {c.B, n, 3, c.N, c.H}), part_y(dtype, {c.B, n, c.N, c.H});
      for (std::int64_t b = 0; b < c.B; ++b) {
        for (std::int64_t i = 0; i < n * per_token; ++i) {
          part.set(b * n * per_token + i, whole.qkv.get((b * c.T + at) * per_token + i));
        }
      }
      auto position = Tensor::of(DType::i32, {static_cast<double>(at)});
      kernels::attention_cached(
          stream, {.qkv = part, .cache_k = k, .cache_v = v, .position = position, .y = part_y, .scratch = scratch});
      EXPECT_TRUE(part_y.guarded() && k.guarded() && v.guarded() && scratch.guarded());
      for (std::int64_t b = 0; b < c.B; ++b) {
        for (std::int64_t i = 0; i < n * c.N * c.H; ++i) {
          y.set((b * c.T + at) * c.N * c.H + i, part_y.get(b * n * c.N * c.H + i));
        }
      }
    }
    EXPECT_TRUE(all_near(y, whole.y, test::rounding(dtype), test::rounding(dtype)));
  }
}

TEST(AttentionCached, matches_its_reference_with_and_without_a_causal_mask) {
  for (bool causal : {true, false}) {
    for (std::int64_t T : {1, 4, 7, 70}) {
      Case const c{1, T, 2, 20, causal};
      auto qkv = Tensor::random(DType::f32, {1, T, 3, 2, 20}, 9);
      auto k = Tensor::random(DType::f32, {1, 2, 140, 20}, 10), v = Tensor::random(DType::f32, {1, 2, 140, 20}, 11);
      auto k2 = k, v2 = v;
      auto position = Tensor::of(DType::i32, {69});
      Tensor y(DType::f32, {1, T, 2, 20}), y2(DType::f32, {1, T, 2, 20}), scratch(DType::u8, {forward_scratch(c)});
      device::Stream stream;
      kernels::attention_cached(
          stream,
          {.qkv = qkv, .cache_k = k, .cache_v = v, .position = position, .y = y, .scratch = scratch, .causal = causal});
      kernels::attention_cached_reference(
          {.qkv = qkv, .cache_k = k2, .cache_v = v2, .position = position, .y = y2, .scratch = {}, .causal = causal});
      EXPECT_TRUE(all_near(y, y2, 1e-5, 1e-5));
      EXPECT_TRUE(k == k2);
      EXPECT_TRUE(v == v2);
    }
  }
}

TEST(AttentionCached, refuses_tokens_beyond_the_cache) {
  Tensor qkv(DType::f32, {1, 2, 3, 1, 4}), k(DType::f32, {1, 1, 8, 4}), v(DType::f32, {1, 1, 8, 4});
  Tensor y(DType::f32, {1, 2, 1, 4}), scratch(DType::u8, {forward_scratch({1, 2, 1, 4})});
  auto position = Tensor::of(DType::i32, {7});
  device::Stream stream;
  auto const error = test::error_of([&] {
    kernels::attention_cached(
        stream, {.qkv = qkv, .cache_k = k, .cache_v = v, .position = position, .y = y, .scratch = scratch});
  });
  EXPECT_EQ(error.code, "kernels.attention_cached.position");
}

TEST(Attention, refuses_scratch_that_is_one_byte_short) {
  Operands o({1, 8, 1, 4});
  device::Stream stream;
  auto args = o.forward();
  args.scratch.spec.shape = {forward_scratch(o.c) - 1};
  EXPECT_EQ(test::error_of([&] { kernels::attention(stream, args); }).code, "kernels.attention.scratch");
  auto grad = o.grad();
  grad.scratch.spec.shape = {grad_scratch(o.c) - 1};
  EXPECT_EQ(test::error_of([&] { kernels::attention_grad(stream, grad); }).code, "kernels.attention_grad.scratch");
}

}  // namespace
}  // namespace lamina
