#include "lamina/kernels/head_loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "kernels/detail/product.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "lamina/kernels/loss_sum.hpp"
#include "lamina/tensor/packed.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina::kernels {
namespace {

using test::Tensor;

enum class Ignored { none, some, all };

struct Case {
  std::int64_t rows, model, vocab;
  DType dtype;
  bool bias;
  Ignored ignored;
};

struct Outputs {
  Tensor loss, dx, dw, dbias;
  friend bool operator==(Outputs const&, Outputs const&) = default;
};

class HeadLoss : public ::testing::TestWithParam<Case> {
 protected:
  Case const c = GetParam();
  device::Stream stream;
  Tensor x = Tensor::random(c.dtype, {c.rows, c.model}, 1), w = Tensor::random(c.dtype, {c.vocab, c.model}, 2),
         bias = Tensor::random(DType::f32, {c.vocab}, 3),
         targets = Tensor::integers({c.rows}, 4, static_cast<std::uint32_t>(c.vocab));

  void SetUp() override {
    for (std::int64_t r = 0; r < c.rows; ++r) {
      if (c.ignored == Ignored::all || (c.ignored == Ignored::some && r % 3 == 1))
        targets.set(r, r % 2 == 0 ? -1 : -100);
    }
  }

  /// Room for `rows` rows at a time.
  Tensor scratch(std::int64_t rows) const {
    auto const up = [](std::int64_t n) { return (n + 15) / 16 * 16; };
    auto const bytes = ((2 * std::int64_t{threads()} + 1) << 20) + 4 * up(rows) * (c.vocab + 1024 + c.model) +
                       16 * up(c.rows) + (132 << 10);
    return {DType::u8, {bytes}};
  }
  /// What gradients are added to, where they are.
  Outputs outputs(DType dx) const {
    return {Tensor::of(DType::f64, {3, 4}), Tensor(dx, {c.rows, c.model}),
            Tensor::random(DType::f32, {c.vocab, c.model}, 7), Tensor::random(DType::f32, {c.vocab}, 8)};
  }
  HeadLossArgs args(Outputs& o, Tensor& memory, int accumulate) {
    HeadLossArgs a{.x = x,
                   .w = w,
                   .bias = {},
                   .targets = targets,
                   .loss = o.loss,
                   .dx = o.dx,
                   .dw = o.dw,
                   .dbias = {},
                   .scratch = memory,
                   .accumulate = accumulate};
    if (c.bias) a.bias = bias, a.dbias = o.dbias;
    return a;
  }
  /// Probabilities of bf16 operands are rounded to bf16 before the products of the gradient.
  ::testing::AssertionResult near(Tensor const& fast, Tensor const& slow) const {
    bool const coarse = c.dtype == DType::bf16;
    return all_near(fast, slow, coarse ? 1.0 / 128 : 2e-5,
                    coarse ? 4e-3 * std::sqrt(static_cast<double>(c.rows)) : 2e-6);
  }
  void expect_near(Outputs const& fast, Outputs const& slow) const {
    EXPECT_TRUE(all_near(fast.loss, slow.loss, 2e-6));
    EXPECT_TRUE(near(fast.dx, slow.dx));
    EXPECT_TRUE(near(fast.dw, slow.dw));
    if (c.bias) {
      EXPECT_TRUE(near(fast.dbias, slow.dbias));
    }
  }
};

TEST_P(HeadLoss, matches_the_reference_in_one_chunk_of_rows_or_many) {
  for (DType const dx : {DType::f32, c.dtype}) {
    for (int const accumulate : {0, 15, 4}) {
      auto slow = outputs(dx);
      Tensor none(DType::u8, {0});
      head_loss_reference(args(slow, none, accumulate));
      for (std::int64_t const rows : {c.rows, std::int64_t{16}}) {
        auto fast = outputs(dx);
        auto memory = scratch(rows);
        head_loss(stream, args(fast, memory, accumulate));
        expect_near(fast, slow);
      }
    }
  }
}

TEST_P(HeadLoss, equals_its_parts_run_one_after_the_other) {
  auto whole = outputs(DType::f32), parts = outputs(DType::f32);
  auto memory = scratch(c.rows);
  head_loss(stream, args(whole, memory, 0));
  Tensor max(DType::f32, {c.rows}), sum(DType::f32, {c.rows}), target(DType::f32, {c.rows});
  auto const a = args(parts, memory, 0);
  head_loss_stats(stream, {.x = x,
                           .w = w,
                           .bias = a.bias,
                           .targets = targets,
                           .max = max,
                           .sum = sum,
                           .target = target,
                           .scratch = memory});
  loss_sum(stream, {.max = max, .sum = sum, .target = target, .targets = targets, .loss = parts.loss});
  head_loss_grad(stream, {.x = x,
                          .w = w,
                          .bias = a.bias,
                          .targets = targets,
                          .max = max,
                          .sum = sum,
                          .dx = parts.dx,
                          .dw = parts.dw,
                          .dbias = a.dbias,
                          .scratch = memory});
  EXPECT_TRUE(whole == parts);
}

// What a linear_grad_weight later makes of the gradient of the logits is what the head makes at once.
TEST_P(HeadLoss, leaves_the_gradient_of_the_logits_to_another_op) {
  auto const split = [&](Outputs& o, Tensor& dlogits, Tensor& memory) {
    auto a = args(o, memory, 0);
    a.dlogits = dlogits, a.dw = {}, a.dbias = {};
    return a;
  };
  auto whole = outputs(DType::f32), parts = outputs(DType::f32), slow = outputs(DType::f32);
  auto memory = scratch(c.rows);
  head_loss(stream, args(whole, memory, 15));
  Tensor dlogits(c.dtype, {c.rows, c.vocab}), expected = dlogits, none(DType::u8, {0});
  head_loss_reference(split(slow, expected, none));
  for (std::int64_t const rows : {std::int64_t{16}, c.rows}) {
    auto room = scratch(rows);
    head_loss(stream, split(parts, dlogits, room));
    EXPECT_TRUE(all_near(dlogits, expected, c.dtype == DType::bf16 ? 1.0 / 128 : 2e-5, 1e-6));
  }
  EXPECT_TRUE(parts.dx == whole.dx);
  linear_grad_weight(stream, {.dy = dlogits,
                              .x = x,
                              .dw = parts.dw,
                              .dbias = c.bias ? TensorRef(parts.dbias) : TensorRef{},
                              .scratch = memory,
                              .rows_dims = 1,
                              .accumulate = 3});
  EXPECT_TRUE(near(parts.dw, whole.dw));
  if (c.bias) {
    EXPECT_TRUE(near(parts.dbias, whole.dbias));
  }
}

TEST_P(HeadLoss, gives_the_same_bits_on_one_and_two_threads) {
  test::expect_same_bits_on_one_and_two_threads([&] {
    auto o = outputs(c.dtype);
    auto memory = scratch(c.rows);
    head_loss(stream, args(o, memory, 0));
    return o;
  });
}

// One row, one word, odd and prime vocabularies, more than one block of the vocabulary, ignored targets.
INSTANTIATE_TEST_SUITE_P(edges, HeadLoss,
                         ::testing::Values(Case{1, 8, 1, DType::f32, false, Ignored::none},
                                           Case{1, 1, 7, DType::bf16, true, Ignored::none},
                                           Case{5, 24, 101, DType::f32, true, Ignored::some},
                                           Case{35, 17, 257, DType::f32, false, Ignored::some},
                                           Case{35, 18, 257, DType::bf16, true, Ignored::some},
                                           Case{16, 16, 64, DType::f32, true, Ignored::all},
                                           Case{16, 16, 64, DType::bf16, false, Ignored::all},
                                           Case{50, 12, 2309, DType::f32, true, Ignored::none},
                                           Case{50, 12, 2309, DType::bf16, false, Ignored::some}));

class LibraryHeadLoss : public HeadLoss {};

TEST_P(LibraryHeadLoss, matches_the_reference_with_the_librarys_products) {
  detail::LibraryChoice const choice{true};
  auto slow = outputs(DType::f32), fast = outputs(DType::f32);
  Tensor none(DType::u8, {0});
  auto memory = scratch(16);
  head_loss_reference(args(slow, none, 15));
  head_loss(stream, args(fast, memory, 15));
  expect_near(fast, slow);
}

INSTANTIATE_TEST_SUITE_P(edges, LibraryHeadLoss,
                         ::testing::Values(Case{20, 17, 257, DType::f32, true, Ignored::some},
                                           Case{20, 18, 257, DType::bf16, false, Ignored::some}));

TEST(HeadLossErrors, name_the_row_whose_target_is_no_word) {
  device::Stream stream;
  auto x = Tensor::random(DType::f32, {3, 4}, 1), w = Tensor::random(DType::f32, {5, 4}, 2);
  auto targets = Tensor::integers({3}, 3, 5);
  targets.set(2, 5);
  Tensor loss(DType::f64, {2}), dx(DType::f32, {3, 4}), dw(DType::f32, {5, 4}), memory(DType::u8, {8 << 20});
  HeadLossArgs a{
      .x = x, .w = w, .bias = {}, .targets = targets, .loss = loss, .dx = dx, .dw = dw, .dbias = {}, .scratch = memory};
  auto const error = test::error_of([&] { head_loss(stream, a); });
  EXPECT_EQ(error.code, "kernels.head_loss.target");
  EXPECT_EQ(error.subject, "head_loss: target of row 2");
  EXPECT_EQ(error.found, "5");
  targets.set(2, 4);
  a.scratch.spec = {DType::u8, {1 << 20}};
  EXPECT_EQ(test::error_of([&] { head_loss(stream, a); }).code, "kernels.head_loss.scratch");
}

}  // namespace
}  // namespace lamina::kernels
