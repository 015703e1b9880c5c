#include "lamina/kernels/layer_norm.hpp"

#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;

struct Case {
  std::int64_t rows, columns;
  DType dtype;
};

std::int64_t grad_scratch(std::int64_t rows, std::int64_t columns) {
  return 8 * columns * std::min<std::int64_t>(64, (rows + 15) / 16);
}

// Operands and results of the three ops; rows far from 0 make a one-pass variance fail.
struct Operands {
  explicit Operands(Case c)
      : x(Tensor::random(DType::f32, {c.rows, c.columns}, 1, 1, 30)),
        b(Tensor::random(c.dtype, {c.rows, c.columns}, 2)),
        scale(Tensor::random(DType::f32, {c.columns}, 3)),
        shift(Tensor::random(DType::f32, {c.columns}, 4)),
        r(DType::f32, {c.rows, c.columns}),
        y(c.dtype, {c.rows, c.columns}),
        mean(DType::f32, {c.rows}),
        rstd(DType::f32, {c.rows}),
        dy(Tensor::random(c.dtype, {c.rows, c.columns}, 5)),
        residual(Tensor::random(DType::f32, {c.rows, c.columns}, 6)),
        dx(DType::f32, {c.rows, c.columns}),
        dscale(Tensor::random(DType::f32, {c.columns}, 7)),
        dshift(Tensor::random(DType::f32, {c.columns}, 8)),
        scratch(DType::u8, {grad_scratch(c.rows, c.columns)}) {}
  Tensor x, b, scale, shift, r, y, mean, rstd, dy, residual, dx, dscale, dshift, scratch;

  kernels::LayerNormArgs norm() { return {.x = x, .scale = scale, .shift = shift, .y = y, .mean = mean, .rstd = rstd}; }
  kernels::AddLayerNormArgs add_norm() {
    return {.a = x, .b = b, .scale = scale, .shift = shift, .r = r, .y = y, .mean = mean, .rstd = rstd};
  }
  kernels::LayerNormGradArgs grad(bool with_residual, int accumulate) {
    return {.dy = dy,
            .x = x,
            .scale = scale,
            .mean = mean,
            .rstd = rstd,
            .residual = with_residual ? residual.ref() : TensorRef{},
            .dx = dx,
            .dscale = dscale,
            .dshift = dshift,
            .scratch = scratch,
            .accumulate = accumulate};
  }
};

class LayerNormKernel : public ::testing::TestWithParam<Case> {
 protected:
  double tolerance() const { return test::rounding(GetParam().dtype); }
  device::Stream stream;
};

TEST_P(LayerNormKernel, matches_the_reference) {
  Operands fast(GetParam()), slow(GetParam());
  kernels::layer_norm(stream, fast.norm());
  kernels::layer_norm_reference(slow.norm());
  EXPECT_TRUE(all_near(fast.y, slow.y, tolerance(), tolerance()));
  EXPECT_TRUE(all_near(fast.mean, slow.mean, 1e-6));
  EXPECT_TRUE(all_near(fast.rstd, slow.rstd, 1e-5));
}

TEST_P(LayerNormKernel, after_an_addition_matches_the_reference) {
  Operands fast(GetParam()), slow(GetParam());
  kernels::add_layer_norm(stream, fast.add_norm());
  kernels::add_layer_norm_reference(slow.add_norm());
  EXPECT_TRUE(all_near(fast.r, slow.r, 1e-6));
  EXPECT_TRUE(all_near(fast.y, slow.y, tolerance(), tolerance()));
  EXPECT_TRUE(all_near(fast.mean, slow.mean, 1e-6));
  EXPECT_TRUE(all_near(fast.rstd, slow.rstd, 1e-5));
}

TEST_P(LayerNormKernel, gradient_matches_the_reference_with_and_without_residual_and_accumulation) {
  for (int accumulate : {0, 2, 4, 6}) {
    bool const residual = accumulate != 4;
    Operands fast(GetParam()), slow(GetParam());
    kernels::layer_norm_reference(fast.norm());
    kernels::layer_norm_reference(slow.norm());
    kernels::layer_norm_grad(stream, fast.grad(residual, accumulate));
    kernels::layer_norm_grad_reference(slow.grad(residual, accumulate));
    double const wide = 1e-5 * std::sqrt(static_cast<double>(GetParam().rows));
    // One column: rstd = 1 / sqrt(eps) magnifies the rounding of the means.
    EXPECT_TRUE(all_near(fast.dx, slow.dx, 1e-4, GetParam().columns < 3 ? 2e-3 : 1e-5));
    EXPECT_TRUE(all_near(fast.dscale, slow.dscale, 1e-4, wide));
    EXPECT_TRUE(all_near(fast.dshift, slow.dshift, 1e-5, wide));
    EXPECT_TRUE(fast.scratch.guarded());
  }
}

INSTANTIATE_TEST_SUITE_P(edges, LayerNormKernel,  // one row, one column, odd, vector, prime, wide, many rows
                         ::testing::Values(Case{1, 8, DType::f32}, Case{5, 1, DType::f32}, Case{3, 33, DType::f32},
                                           Case{4, 64, DType::f32}, Case{67, 127, DType::f32},
                                           Case{2, 4097, DType::f32}, Case{1100, 16, DType::f32},
                                           Case{5, 1, DType::bf16}, Case{17, 67, DType::bf16},
                                           Case{3, 768, DType::bf16}));

TEST(LayerNorm, gives_the_same_bits_on_one_and_two_threads) {
  test::expect_same_bits_on_one_and_two_threads([] {
    Operands o({150, 768, DType::f32});
    device::Stream stream;
    kernels::add_layer_norm(stream, o.add_norm());
    kernels::layer_norm_grad(stream, o.grad(true, 6));
    return std::vector{o.y, o.r, o.mean, o.rstd, o.dx, o.dscale, o.dshift};
  });
}

TEST(LayerNorm, updates_the_residual_stream_in_place) {
  Operands separate({9, 50, DType::f32}), in_place({9, 50, DType::f32});
  device::Stream stream;
  kernels::add_layer_norm(stream, separate.add_norm());
  auto args = in_place.add_norm();
  args.r = in_place.x;
  kernels::add_layer_norm(stream, args);
  EXPECT_TRUE(in_place.x == separate.r);
  EXPECT_TRUE(in_place.y == separate.y);
}

TEST(LayerNorm, refuses_operands_that_do_not_fit_and_says_which) {
  Operands o({4, 8, DType::f32});
  device::Stream stream;
  auto args = o.norm();
  args.scale.spec.shape = {7};
  auto const shape = test::error_of([&] { kernels::layer_norm(stream, args); });
  EXPECT_EQ(shape.code, "kernels.layer_norm.shape");
  EXPECT_EQ(shape.subject, "layer_norm: scale");
  auto grad = o.grad(false, 0);
  grad.scratch.spec.shape = {63};
  EXPECT_EQ(test::error_of([&] { kernels::layer_norm_grad(stream, grad); }).code, "kernels.layer_norm_grad.scratch");
  auto add = o.add_norm();
  add.b.spec.dtype = DType::i32;
  EXPECT_EQ(test::error_of([&] { kernels::add_layer_norm(stream, add); }).code, "kernels.add_layer_norm.dtype");
}

}  // namespace
}  // namespace lamina
