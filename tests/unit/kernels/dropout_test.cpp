#include "lamina/kernels/dropout.hpp"

#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;

Tensor rng(double seed, double step, double first) {
  Tensor t(DType::i64, {3});
  t.set(0, seed), t.set(1, step), t.set(2, first);
  return t;
}

class DropoutKernel : public ::testing::TestWithParam<std::tuple<Shape, DType>> {};

TEST_P(DropoutKernel, matches_the_reference) {
  auto const& [shape, dtype] = GetParam();
  auto x = Tensor::random(dtype, shape, 1), r = rng(1LL << 40, 9, (1LL << 33) + 1);  // counters beyond 32 bits
  Tensor fast(dtype, shape), slow(dtype, shape);
  device::Stream stream;
  for (double p : {0., 0.1, 0.5, 0.99}) {
    kernels::dropout(stream, {.x = x, .rng = r, .y = fast, .p = p, .operation = 0xdeadbeef, .sample = 2});
    kernels::dropout_reference({.x = x, .rng = r, .y = slow, .p = p, .operation = 0xdeadbeef, .sample = 2});
    EXPECT_TRUE(all_near(fast, slow, dtype == DType::bf16 ? 1. / 128 : 1e-6)) << p;
  }
}

INSTANTIATE_TEST_SUITE_P(edges, DropoutKernel,  // one, samples that begin anywhere in a quad, several blocks
                         ::testing::Combine(::testing::Values(Shape{1, 1}, Shape{3, 7}, Shape{4, 6}, Shape{5, 1, 3},
                                                              Shape{2, 5}, Shape{0, 4}, Shape{2, 3000}),
                                            ::testing::Values(DType::f32, DType::bf16)));

TEST(Dropout, gives_a_sample_the_same_mask_in_any_micro_batch_replica_and_thread_count) {
  auto x = Tensor::of(DType::f32, std::vector<double>(6 * 501, 1));
  Tensor whole(DType::f32, {6, 501}), part(DType::f32, {1, 501});
  auto at_0 = rng(5, 1, 0), at_4 = rng(5, 1, 4);
  device::Stream stream;
  kernels::dropout(
      stream,
      {.x = {x.data(), {DType::f32, {6, 501}}}, .rng = at_0, .y = whole, .p = 0.3, .operation = 1, .sample = 0});
  kernels::set_threads(1);
  kernels::dropout(
      stream, {.x = {x.data(), {DType::f32, {1, 501}}}, .rng = at_4, .y = part, .p = 0.3, .operation = 1, .sample = 1});
  kernels::set_threads(2);
  for (std::int64_t i = 0; i < 501; ++i) ASSERT_EQ(part.get(i), whole.get(5 * 501 + i)) << i;
}

TEST(Dropout, gives_a_part_of_any_dim_the_mask_that_it_has_in_the_whole) {
  device::Stream stream;
  auto r = rng(5, 1, 3);
  struct Cut {
    Shape whole;
    int dim, parts;
  };
  // Tokens, several runs per part; one element per run; a dim in the middle; parts of more than one block.
  for (auto const& [shape, dim, parts] : {Cut{{3, 6, 5}, 1, 2}, Cut{{3, 6, 5}, 1, 3}, Cut{{2, 4}, 1, 4},
                                          Cut{{2, 3, 4, 7}, 2, 2}, Cut{{2, 5, 6}, 2, 3}, Cut{{2, 6, 501}, 1, 2}}) {
    auto x = Tensor::random(DType::f32, shape, 1, 0.5, 1);
    Tensor whole(DType::f32, shape);
    kernels::dropout(stream, {.x = x, .rng = r, .y = whole, .p = 0.3, .operation = 9, .sample = 1});
    auto local = shape;
    local[dim] /= parts;
    auto const inner = shape.count(dim + 1, shape.ndim()), run = local[dim] * inner;
    for (int part = 0; part < parts; ++part) {
      Tensor own(DType::f32, local), y = own, expected = own;
      auto const at = [&](std::int64_t i) { return i / run * run * parts + part * run + i % run; };
      for (std::int64_t i = 0; i < own.spec().count(); ++i) own.set(i, x.get(at(i))), expected.set(i, whole.get(at(i)));
      kernels::DropoutArgs a{.x = own, .rng = r, .y = y, .p = 0.3, .operation = 9, .sample = 1};
      a.split_dim = dim, a.first = part * local[dim], a.extent = shape[dim];
      kernels::dropout(stream, a);
      EXPECT_TRUE(y == expected) << shape << " dim " << dim << " part " << part;
      kernels::dropout_reference(a);
      EXPECT_TRUE(all_near(y, expected, 1e-6)) << shape << " dim " << dim << " part " << part;
    }
  }
}

TEST(Dropout, refuses_a_part_outside_of_the_whole) {
  auto x = Tensor::random(DType::f32, {2, 3}, 1), r = rng(1, 1, 0);
  Tensor y(DType::f32, {2, 3});
  device::Stream stream;
  kernels::DropoutArgs a{.x = x, .rng = r, .y = y, .p = 0.5};
  using Row = std::tuple<int, int, int>;
  for (auto const& [dim, first, extent] : {Row{1, 1, 3}, Row{1, -1, 6}, Row{2, 0, 3}, Row{0, 0, 3}}) {
    a.split_dim = dim, a.first = first, a.extent = extent;
    EXPECT_EQ(test::error_of([&] { kernels::dropout(stream, a); }).code, "kernels.dropout.shape") << dim << first;
  }
}

TEST(Dropout, keeps_about_one_minus_p_and_differs_between_steps_and_operations) {
  std::int64_t const n = 100000;
  auto x = Tensor::of(DType::f32, std::vector<double>(n, 1));
  TensorRef const in{x.data(), {DType::f32, {1, n}}};
  Tensor a(DType::f32, {1, n}), b = a, c = a;
  auto first = rng(5, 1, 0), second = rng(5, 2, 0);
  device::Stream stream;
  kernels::dropout(stream, {.x = in, .rng = first, .y = a, .p = 0.2, .operation = 1, .sample = 0});
  kernels::dropout(stream, {.x = in, .rng = second, .y = b, .p = 0.2, .operation = 1, .sample = 0});
  kernels::dropout(stream, {.x = in, .rng = first, .y = c, .p = 0.2, .operation = 2, .sample = 0});
  double kept = 0, both_steps = 0, both_operations = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    kept += a.get(i) != 0;
    both_steps += a.get(i) != 0 && b.get(i) != 0;
    both_operations += a.get(i) != 0 && c.get(i) != 0;
  }
  double const five_sigma = 5 * std::sqrt(0.25 * n);
  EXPECT_NEAR(kept, 0.8 * n, five_sigma);
  EXPECT_NEAR(both_steps, 0.64 * n, five_sigma);
  EXPECT_NEAR(both_operations, 0.64 * n, five_sigma);
}

TEST(Dropout, drops_what_is_not_finite_and_refuses_to_drop_everything) {
  auto x = Tensor::of(DType::f32, std::vector<double>(64, HUGE_VAL));
  Tensor y(DType::f32, {64});
  auto r = rng(1, 1, 0);
  device::Stream stream;
  kernels::dropout(stream, {.x = x, .rng = r, .y = y, .p = 0.5});
  for (std::int64_t i = 0; i < 64; ++i) EXPECT_FALSE(std::isnan(y.get(i)));
  EXPECT_EQ(test::error_of([&] { kernels::dropout(stream, {.x = x, .rng = r, .y = y, .p = 1}); }).code,
            "kernels.dropout.p");
}

}  // namespace
}  // namespace lamina
