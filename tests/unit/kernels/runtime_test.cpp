#include "lamina/kernels/runtime.hpp"

#include <atomic>

#include "lamina/kernels/add.hpp"
#include "lamina/kernels/attention.hpp"
#include "lamina/kernels/for_each_part.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "support/allocations.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

TEST(Runtime, is_one_per_process_and_knows_its_threads) {
  EXPECT_EQ(kernels::threads(), 2);
  EXPECT_EQ(test::error_of([] { kernels::Runtime second(1); }).code, "kernels.runtime.twice");
  EXPECT_EQ(test::error_of([] { kernels::set_threads(3); }).code, "kernels.runtime.threads");
  EXPECT_EQ(test::error_of([] { kernels::set_threads(0); }).code, "kernels.runtime.threads");
  EXPECT_EQ(kernels::threads(), 2);
}

TEST(ForEachPart, covers_every_element_once_in_parts_that_begin_at_grains) {
  for (std::int64_t const count : {0, 1, 7, 8, 9, 100}) {
    std::vector<int> seen(static_cast<std::size_t>(count));
    std::atomic<int> parts{0};
    kernels::for_each_part(count, 8, [&](std::int64_t begin, std::int64_t end) {
      ++parts;
      EXPECT_EQ(begin % 8, 0);
      for (auto i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(count), 1));
    EXPECT_EQ(parts, count == 0 ? 0 : count <= 8 ? 1 : 2);
  }
}

TEST(Runtime, allocates_nothing_in_a_kernel_after_its_first_run) {
  using test::Tensor;
  device::Stream stream;
  auto x = Tensor::random(DType::f32, {40, 600}, 1), y = x, scale = Tensor::random(DType::f32, {600}, 2), shift = scale;
  auto dscale = scale, dshift = scale;
  Tensor mean(DType::f32, {40}), rstd = mean, scratch(DType::u8, {4 << 20});
  auto qkv = Tensor::random(DType::f32, {2, 70, 3, 2, 16}, 3), dqkv = qkv;
  Tensor a_y(DType::f32, {2, 70, 2, 16}), lse(DType::f32, {2, 2, 70});
  auto const run = [&] {
    kernels::add(stream, {.a = x, .b = x, .y = y});
    kernels::layer_norm(stream, {.x = x, .scale = scale, .shift = shift, .y = y, .mean = mean, .rstd = rstd});
    kernels::layer_norm_grad(stream, {.dy = y,
                                      .x = x,
                                      .scale = scale,
                                      .mean = mean,
                                      .rstd = rstd,
                                      .residual = {},
                                      .dx = y,
                                      .dscale = dscale,
                                      .dshift = dshift,
                                      .scratch = scratch});
    kernels::attention(stream, {.qkv = qkv, .rng = {}, .y = a_y, .lse = lse, .scratch = scratch});
    kernels::attention_grad(stream,
                            {.dy = a_y, .qkv = qkv, .y = a_y, .lse = lse, .rng = {}, .dqkv = dqkv, .scratch = scratch});
  };
  run();
  if (!test::counts_allocations()) GTEST_SKIP() << "a sanitizer has its own malloc";
  test::Allocations const allocations;
  run();
  EXPECT_EQ(allocations.count(), 0) << allocations.places();
}

}  // namespace
}  // namespace lamina
