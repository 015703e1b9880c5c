#include <cmath>
#include <limits>

#include "lamina/kernels/cross_entropy.hpp"
#include "lamina/kernels/mse.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near;
using test::Tensor;

Tensor some_ignored(std::int64_t rows, std::uint32_t classes) {
  auto targets = Tensor::integers({rows}, 4, classes);
  for (std::int64_t r = 2; r < rows; r += 5) targets.set(r, -100);
  return targets;
}

TEST(CrossEntropy, and_accuracy_match_the_reference_and_add_to_what_is_there) {
  device::Stream stream;
  for (auto const& [rows, classes] : {std::pair{1, 1}, {1, 2}, {3, 17}, {64, 10}, {37, 1003}}) {
    auto x = Tensor::random(DType::f32, {rows, classes}, 1, 8), targets = some_ignored(rows, classes);
    Tensor dx(DType::f32, {rows, classes}), expected_dx = dx;
    auto loss = Tensor::of(DType::f64, {10, 4}), expected = loss, hits = loss, expected_hits = loss;
    for (int accumulate : {1, 1, 0}) {
      kernels::cross_entropy(stream, {.x = x, .targets = targets, .loss = loss, .accumulate = accumulate});
      kernels::cross_entropy_reference({.x = x, .targets = targets, .loss = expected, .accumulate = accumulate});
      EXPECT_TRUE(all_near(loss, expected, 1e-6, 1e-6));
      kernels::accuracy(stream, {.x = x, .targets = targets, .hits = hits, .accumulate = accumulate});
      kernels::accuracy_reference({.x = x, .targets = targets, .hits = expected_hits, .accumulate = accumulate});
      EXPECT_TRUE(hits == expected_hits);
    }
    kernels::cross_entropy_grad(stream, {.x = x, .targets = targets, .dx = dx});
    kernels::cross_entropy_grad_reference({.x = x, .targets = targets, .dx = expected_dx});
    EXPECT_TRUE(all_near(dx, expected_dx, 1e-5, 1e-6));
  }
}

TEST(CrossEntropy, of_large_logits_stays_finite_and_of_nan_does_not) {
  device::Stream stream;
  Tensor x(DType::f32, {1, 3}), loss(DType::f64, {2}), hits(DType::f64, {2});
  for (int c = 0; c < 3; ++c) x.set(c, 1e4 * c);
  auto target = Tensor::of(DType::i32, {0});
  kernels::cross_entropy(stream, {.x = x, .targets = target, .loss = loss});
  EXPECT_NEAR(loss.get(0), 2e4, 1e-2);
  x.set(1, std::numeric_limits<double>::quiet_NaN());
  kernels::cross_entropy(stream, {.x = x, .targets = target, .loss = loss});
  EXPECT_TRUE(std::isnan(loss.get(0)));
  target.set(0, 2);
  kernels::accuracy(stream, {.x = x, .targets = target, .hits = hits});
  EXPECT_EQ(hits.get(0), 0);
  EXPECT_EQ(hits.get(1), 1);
}

TEST(CrossEntropy, refuses_a_class_that_the_model_does_not_have) {
  device::Stream stream;
  auto x = Tensor::random(DType::f32, {2, 3}, 1);
  auto targets = Tensor::of(DType::i32, {2, 3});
  Tensor pair(DType::f64, {2});
  EXPECT_EQ(test::error_of([&] { kernels::cross_entropy(stream, {.x = x, .targets = targets, .loss = pair}); }).code,
            "kernels.cross_entropy.target");
  EXPECT_EQ(test::error_of([&] { kernels::accuracy(stream, {.x = x, .targets = targets, .hits = pair}); }).code,
            "kernels.accuracy.target");
}

TEST(Accuracy, of_equal_outputs_takes_the_first) {
  device::Stream stream;
  auto flat = Tensor::of(DType::f32, {1, 5, 5, 2});
  TensorRef const x{flat.data(), {DType::f32, {1, 4}}};
  Tensor hits(DType::f64, {2});
  for (int target = 0; target < 4; ++target) {
    auto targets = Tensor::of(DType::i32, {static_cast<double>(target)});
    kernels::accuracy(stream, {.x = x, .targets = targets, .hits = hits});
    EXPECT_EQ(hits.get(0), target == 1 ? 1 : 0) << target;
  }
}

TEST(Mse, matches_the_reference_and_ignores_samples) {
  device::Stream stream;
  for (auto const& [samples, outputs] : {std::pair{1, 1}, {1, 33}, {7, 3}, {40, 101}}) {
    auto x = Tensor::random(DType::f32, {samples, outputs}, 1), y = Tensor::random(DType::f32, {samples, outputs}, 2);
    auto counted = some_ignored(samples, 2);
    Tensor dx(DType::f32, {samples, outputs}), expected_dx = dx;
    auto loss = Tensor::of(DType::f64, {10, 4}), expected = loss;
    for (int accumulate : {1, 0}) {
      kernels::mse(stream, {.x = x, .y = y, .counted = counted, .loss = loss, .accumulate = accumulate});
      kernels::mse_reference({.x = x, .y = y, .counted = counted, .loss = expected, .accumulate = accumulate});
      EXPECT_TRUE(all_near(loss, expected, 1e-12));
    }
    kernels::mse_grad(stream, {.x = x, .y = y, .counted = counted, .dx = dx});
    kernels::mse_grad_reference({.x = x, .y = y, .counted = counted, .dx = expected_dx});
    EXPECT_TRUE(all_near(dx, expected_dx, 1e-5, 1e-7));
  }
}

TEST(SampleLosses, do_not_depend_on_the_threads) {
  auto x = Tensor::random(DType::f32, {301, 7}, 1), y = Tensor::random(DType::f32, {301, 7}, 2);
  auto targets = some_ignored(301, 7);
  test::expect_same_bits_on_one_and_two_threads([&] {
    device::Stream stream;
    std::vector<Tensor> all(2, Tensor(DType::f32, {301, 7}));
    kernels::cross_entropy_grad(stream, {.x = x, .targets = targets, .dx = all[0]});
    kernels::mse_grad(stream, {.x = x, .y = y, .counted = targets, .dx = all[1]});
    return all;
  });
}

}  // namespace
}  // namespace lamina
