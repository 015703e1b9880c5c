#include "lamina/kernels/activation.hpp"

#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;

struct Case {
  std::int64_t count;
  DType dtype;
};

// The smooth range, both tails, zeros, infinities and NaN.
Tensor inputs(Case c) {
  auto z = Tensor::random(c.dtype, {c.count}, 1, 6);
  double const inf = HUGE_VAL;
  double const special[] = {0., -0., 15., -15., inf, -inf, std::nan(""), 1e-30, -9.5, 100.};
  for (std::int64_t i = 10; i < std::min<std::int64_t>(20, c.count); ++i) z.set(i, special[i - 10]);
  return z;
}

class ActivationKernel : public ::testing::TestWithParam<Case> {
 protected:
  device::Stream stream;
};

TEST_P(ActivationKernel, gelu_and_its_gradient_match_the_reference) {
  auto const c = GetParam();
  auto z = inputs(c), dy = Tensor::random(c.dtype, {c.count}, 2);
  Tensor y(c.dtype, {c.count}), expected = y, dz = y, expected_dz = y;
  kernels::gelu(stream, {.z = z, .y = y});
  kernels::gelu_grad(stream, {.dy = dy, .z = z, .dz = dz});
  for (std::int64_t i = 0; i < c.count; ++i) {  // the reference has inf * 0 there
    if (!std::isinf(z.get(i))) continue;
    EXPECT_TRUE(z.get(i) > 0 ? y.get(i) == z.get(i) : std::abs(y.get(i)) < 1e-30) << y.get(i);
    EXPECT_FALSE(std::isnan(dz.get(i)));
    z.set(i, 0), y.set(i, 0), dz.set(i, 0.5 * dy.get(i));
  }
  kernels::gelu_reference({.z = z, .y = expected});
  kernels::gelu_grad_reference({.dy = dy, .z = z, .dz = expected_dz});
  auto const rel = c.dtype == DType::bf16 ? 1. / 128 : 5e-6;
  EXPECT_TRUE(all_near(y, expected, rel, 1e-9));
  EXPECT_TRUE(all_near(dz, expected_dz, rel, 1e-6));
}

TEST_P(ActivationKernel, relu_and_its_gradient_equal_the_reference) {
  auto const c = GetParam();
  auto z = inputs(c), dy = Tensor::random(c.dtype, {c.count}, 2);
  Tensor y(c.dtype, {c.count}), expected = y, dz = y, expected_dz = y;
  kernels::relu(stream, {.z = z, .y = y});
  kernels::relu_grad(stream, {.dy = dy, .z = z, .dz = dz});
  kernels::relu_reference({.z = z, .y = expected});
  kernels::relu_grad_reference({.dy = dy, .z = z, .dz = expected_dz});
  EXPECT_TRUE(all_near(y, expected, 0));
  EXPECT_TRUE(all_near(dz, expected_dz, 0));
}

INSTANTIATE_TEST_SUITE_P(edges, ActivationKernel,  // none, one, odd, prime, two threads
                         ::testing::Values(Case{0, DType::f32}, Case{1, DType::f32}, Case{33, DType::f32},
                                           Case{127, DType::f32}, Case{20011, DType::f32}, Case{1, DType::bf16},
                                           Case{20011, DType::bf16}));

TEST(Gelu, gives_the_same_bits_on_one_and_two_threads_and_in_place) {
  test::expect_same_bits_on_one_and_two_threads([] {
    auto z = Tensor::random(DType::f32, {30001}, 3, 5), dy = Tensor::random(DType::f32, {30001}, 4);
    Tensor y(DType::f32, {30001}), dz = y;
    device::Stream stream;
    kernels::gelu(stream, {.z = z, .y = y});
    kernels::gelu_grad(stream, {.dy = dy, .z = z, .dz = dz});
    kernels::gelu(stream, {.z = z, .y = z});
    EXPECT_TRUE(z == y);
    return std::vector{y, dz};
  });
}

TEST(Gelu, refuses_mixed_dtypes) {
  Tensor z(DType::f32, {3}), y(DType::bf16, {3});
  device::Stream stream;
  auto const error = test::error_of([&] { kernels::gelu(stream, {.z = z, .y = y}); });
  EXPECT_EQ(error.code, "kernels.gelu.dtype");
  EXPECT_EQ(error.expected, "f32");
}

}  // namespace
}  // namespace lamina
