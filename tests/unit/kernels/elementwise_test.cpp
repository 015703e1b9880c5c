#include "lamina/kernels/add.hpp"
#include "lamina/kernels/cast.hpp"
#include "lamina/kernels/fill.hpp"
#include "lamina/kernels/loss_sum.hpp"
#include "lamina/kernels/select_token.hpp"
#include "lamina/kernels/slice.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;

TEST(Add, equals_the_reference_for_both_dtypes_and_in_place) {
  device::Stream stream;
  for (std::int64_t count : {0, 1, 33, 20011}) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      auto a = Tensor::random(DType::f32, {count}, 1), b = Tensor::random(dtype, {count}, 2);
      Tensor y(DType::f32, {count}), expected = y;
      kernels::add(stream, {.a = a, .b = b, .y = y});
      kernels::add_reference({.a = a, .b = b, .y = expected});
      EXPECT_TRUE(all_near(y, expected, 1e-7));
      kernels::add(stream, {.a = a, .b = b, .y = a});
      EXPECT_TRUE(a == y);
    }
  }
}

TEST(Cast, equals_the_reference_between_all_dtypes) {
  device::Stream stream;
  for (std::int64_t count : {0, 1, 33, 20011}) {
    for (DType from : {DType::f32, DType::bf16}) {
      for (DType to : {DType::f32, DType::bf16}) {
        auto x = Tensor::random(from, {count}, 1, 1e5);
        if (count > 2) x.set(1, std::nan("")), x.set(2, -HUGE_VAL);
        Tensor y(to, {count}), expected = y;
        kernels::cast(stream, {.x = x, .y = y});
        kernels::cast_reference({.x = x, .y = expected});
        EXPECT_TRUE(all_near(y, expected, 0));
      }
    }
  }
}

TEST(Fill, equals_the_reference_for_every_dtype) {
  device::Stream stream;
  for (DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64}) {
    for (std::int64_t count : {0, 1, 20011}) {
      Tensor y(dtype, {count}), expected = y;
      kernels::fill(stream, {.y = y, .value = -3});
      kernels::fill_reference({.y = expected, .value = -3});
      EXPECT_TRUE(all_near(y, expected, 0));
      kernels::zero(stream, {.y = y});
      kernels::zero_reference({.y = expected});
      EXPECT_TRUE(y == expected);
    }
  }
  Tensor bytes(DType::u8, {3});
  EXPECT_EQ(test::error_of([&] { kernels::fill(stream, {.y = bytes, .value = 1}); }).code, "kernels.fill.dtype");
}

TEST(SelectToken, equals_the_reference_and_refuses_a_token_that_is_not_there) {
  device::Stream stream;
  for (DType dtype : {DType::f32, DType::bf16}) {
    auto x = Tensor::random(dtype, {3, 5, 7}, 1);
    Tensor y(dtype, {3, 7}), expected = y;
    for (double at : {0., 2., 4.}) {
      auto last = Tensor::of(DType::i32, {at});
      kernels::select_token(stream, {.x = x, .last = last, .y = y});
      kernels::select_token_reference({.x = x, .last = last, .y = expected});
      EXPECT_TRUE(y == expected);
    }
    auto last = Tensor::of(DType::i32, {5});
    EXPECT_EQ(test::error_of([&] { kernels::select_token(stream, {.x = x, .last = last, .y = y}); }).code,
              "kernels.select_token.last");
  }
}

TEST(Slice, puts_its_parts_together_to_the_whole_for_any_dim_and_dtype) {
  device::Stream stream;
  for (DType const dtype : {DType::f32, DType::bf16}) {
    for (int dim : {0, 1, 2}) {
      Shape const shape{6, 12, 18};
      auto x = Tensor::random(dtype, shape, 1);
      for (std::int64_t const parts : {1, 2, 3, 6}) {
        auto local = shape;
        local[dim] /= parts;
        auto const run = local[dim] * shape.count(dim + 1, 3);
        for (std::int64_t part = 0; part < parts; ++part) {
          Tensor y(dtype, local), slow = y, expected = y;
          for (std::int64_t i = 0; i < y.spec().count(); ++i) {
            expected.set(i, x.get(i / run * run * parts + part * run + i % run));
          }
          kernels::slice(stream, {.x = x, .y = y, .dim = dim, .first = part * local[dim]});
          kernels::slice_reference({.x = x, .y = slow, .dim = dim, .first = part * local[dim]});
          EXPECT_TRUE(y == expected && slow == expected) << "dim " << dim << ", part " << part << " of " << parts;
        }
      }
    }
  }
}

TEST(Slice, of_nothing_and_of_many_bytes_and_refuses_what_is_not_inside) {
  device::Stream stream;
  Tensor none(DType::f32, {0, 3}), empty(DType::f32, {0, 1});
  kernels::slice(stream, {.x = none, .y = empty, .dim = 1, .first = 2});
  auto x = Tensor::random(DType::f32, {2, 60000}, 1);
  Tensor y(DType::f32, {2, 20000}), slow = y;
  kernels::slice(stream, {.x = x, .y = y, .dim = 1, .first = 40000});
  kernels::slice_reference({.x = x, .y = slow, .dim = 1, .first = 40000});
  EXPECT_TRUE(y == slow);
  auto const code = [&](int dim, std::int64_t first) {
    return test::error_of([&] { kernels::slice(stream, {.x = x, .y = y, .dim = dim, .first = first}); }).code;
  };
  EXPECT_EQ(code(1, 40001), "kernels.slice.shape");
  EXPECT_EQ(code(1, -1), "kernels.slice.shape");
  EXPECT_EQ(code(0, 0), "kernels.slice.shape");
  EXPECT_EQ(code(2, 0), "kernels.slice.shape");
}

TEST(LossSum, matches_the_reference_and_adds_to_what_is_there) {
  device::Stream stream;
  for (std::int64_t rows : {1, 16, 37, 1003}) {
    auto max = Tensor::random(DType::f32, {rows}, 1, 5), sum = Tensor::random(DType::f32, {rows}, 2, 40, 41);
    auto target = Tensor::random(DType::f32, {rows}, 3, 5), targets = Tensor::integers({rows}, 4, 9);
    for (std::int64_t r = 2; r < rows; r += 5) targets.set(r, -100);
    auto loss = Tensor::of(DType::f64, {10, 4}), expected = loss;
    for (int accumulate : {1, 1, 0}) {
      kernels::loss_sum(
          stream,
          {.max = max, .sum = sum, .target = target, .targets = targets, .loss = loss, .accumulate = accumulate});
      kernels::loss_sum_reference(
          {.max = max, .sum = sum, .target = target, .targets = targets, .loss = expected, .accumulate = accumulate});
      EXPECT_TRUE(all_near(loss, expected, 1e-6));
      EXPECT_EQ(loss.get(1), expected.get(1));
    }
  }
}

TEST(LossSum, of_rows_that_are_all_ignored_is_zero) {
  auto some = Tensor::of(DType::f32, {1, 2}), targets = Tensor::of(DType::i32, {-1, -1});
  Tensor loss(DType::f64, {2});
  device::Stream stream;
  kernels::loss_sum(stream, {.max = some, .sum = some, .target = some, .targets = targets, .loss = loss});
  EXPECT_EQ(loss.get(0), 0);
  EXPECT_EQ(loss.get(1), 0);
}

}  // namespace
}  // namespace lamina
