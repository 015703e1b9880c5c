#include "kernels/detail/product.hpp"
#include "lamina/kernels/head_loss.hpp"
#include "lamina/kernels/linear.hpp"
#include "lamina/kernels/linear_gelu.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/tensor/packed.hpp"
#include "support/allocations.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::Tensor;

/// oneDNN's argument tables are left out by call site: a machine that uses it counts as one that does not.
class ProductAllocations : public ::testing::TestWithParam<bool> {};

TEST_P(ProductAllocations, there_are_none_of_ours_after_the_first_run) {
  if (!test::counts_allocations()) GTEST_SKIP() << "a sanitizer has its own malloc";
  kernels::detail::LibraryChoice const choice(GetParam());
  device::Stream stream;
  std::int64_t const m = 40, n = 130, k = 70;
  for (DType const t : {DType::f32, DType::bf16}) {
    auto x = Tensor::random(t, {m, k}, 1), w = Tensor::random(DType::f32, {n, k}, 2),
         bias = Tensor::random(DType::f32, {n}, 3), dbias = bias, y = Tensor::random(t, {m, n}, 4), z = y, dx = x;
    auto dw = w, one = Tensor::random(t, {1, k}, 5);
    Tensor one_y(t, {1, n}), packed(DType::u8, {packed_weight_bytes(n, k, t)}), scratch(DType::u8, {8 << 20});
    auto targets = Tensor::integers({m}, 6, static_cast<std::uint32_t>(n));
    Tensor loss(DType::f64, {2});
    auto const run = [&] {
      kernels::pack_weight(stream, {.w = w, .packed = packed, .scratch = scratch, .n = n, .k = k, .dtype = t});
      kernels::linear(stream, {.x = x, .w = packed, .bias = bias, .y = y, .scratch = scratch, .rows_dims = 1});
      kernels::linear(stream, {.x = one, .w = w, .bias = bias, .y = one_y, .scratch = scratch, .rows_dims = 1});
      kernels::linear_gelu(stream, {.x = x, .w = w, .bias = bias, .z = z, .y = y, .scratch = scratch, .rows_dims = 1});
      kernels::linear_grad_input(stream, {.dy = y, .w = w, .dx = dx, .scratch = scratch, .rows_dims = 1});
      kernels::linear_grad_weight(stream,
                                  {.dy = y, .x = x, .dw = dw, .dbias = dbias, .scratch = scratch, .rows_dims = 1});
      kernels::head_loss(stream, {.x = x,
                                  .w = w,
                                  .bias = bias,
                                  .targets = targets,
                                  .loss = loss,
                                  .dx = dx,
                                  .dw = dw,
                                  .dbias = dbias,
                                  .scratch = scratch});
    };
    run();
    test::Allocations const allocations;
    run();
    EXPECT_EQ(allocations.count(), 0) << t << "\n" << allocations.places();
  }
}

INSTANTIATE_TEST_SUITE_P(with, ProductAllocations, ::testing::Bool(),
                         [](auto const& p) { return p.param ? "onednn" : "our_own"; });

}  // namespace
}  // namespace lamina
