// The plain references of the products against PyTorch: tests/data/kernels/make_products.py.
#include <fstream>
#include <nlohmann/json.hpp>

#include "lamina/kernels/head_loss.hpp"
#include "lamina/kernels/linear.hpp"
#include "lamina/kernels/linear_gelu.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;
constexpr double near = 2e-6;

class Reference {
 public:
  explicit Reference(char const* name)
      : values_(nlohmann::json::parse(std::ifstream(LAMINA_TEST_DATA "/kernels/products.json"))[name]) {}

  Tensor tensor(char const* key, Shape shape, DType dtype = DType::f32) const {
    auto const& values = values_.at(key);
    Tensor t(dtype, shape);
    EXPECT_EQ(t.spec().count(), static_cast<std::int64_t>(values.size()));
    for (std::int64_t i = 0; i < t.spec().count(); ++i) t.set(i, values[static_cast<std::size_t>(i)].get<double>());
    return t;
  }

 private:
  nlohmann::json values_;
};

TEST(ProductReference, linear_with_activation_and_gradients_is_pytorchs) {
  Reference const r("linear");
  auto x = r.tensor("x", {3, 5}), w = r.tensor("w", {4, 5}), bias = r.tensor("bias", {4}), dy = r.tensor("dy", {3, 4});
  Tensor y(DType::f32, {3, 4}), activated = y, dx(DType::f32, {3, 5}), dw(DType::f32, {4, 5}), dbias(DType::f32, {4});
  kernels::linear_gelu_reference({.x = x, .w = w, .bias = bias, .z = y, .y = activated, .scratch = {}, .rows_dims = 1});
  EXPECT_TRUE(all_near(y, r.tensor("y", {3, 4}), near, near));
  EXPECT_TRUE(all_near(activated, r.tensor("activated", {3, 4}), near, near));
  kernels::linear_grad_input_reference({.dy = dy, .w = w, .dx = dx, .scratch = {}, .rows_dims = 1});
  EXPECT_TRUE(all_near(dx, r.tensor("dx", {3, 5}), near, near));
  kernels::linear_grad_weight_reference({.dy = dy, .x = x, .dw = dw, .dbias = dbias, .scratch = {}, .rows_dims = 1});
  EXPECT_TRUE(all_near(dw, r.tensor("dw", {4, 5}), near, near));
  EXPECT_TRUE(all_near(dbias, r.tensor("dbias", {4}), near, near));
}

TEST(ProductReference, head_loss_with_statistics_and_gradients_is_pytorchs) {
  Reference const r("head_loss");
  auto x = r.tensor("x", {5, 6}), w = r.tensor("w", {11, 6}), bias = r.tensor("bias", {11});
  auto targets = r.tensor("targets", {5}, DType::i32);
  Tensor loss(DType::f64, {2}), dx(DType::f32, {5, 6}), dw(DType::f32, {11, 6}), dbias(DType::f32, {11});
  kernels::head_loss_reference({.x = x,
                                .w = w,
                                .bias = bias,
                                .targets = targets,
                                .loss = loss,
                                .dx = dx,
                                .dw = dw,
                                .dbias = dbias,
                                .scratch = {}});
  EXPECT_TRUE(all_near(loss, r.tensor("loss", {2}, DType::f64), near));
  EXPECT_TRUE(all_near(dx, r.tensor("dx", {5, 6}), near, near));
  EXPECT_TRUE(all_near(dw, r.tensor("dw", {11, 6}), near, near));
  EXPECT_TRUE(all_near(dbias, r.tensor("dbias", {11}), near, near));
  Tensor max(DType::f32, {5}), sum = max, target = max;
  kernels::head_loss_stats_reference(
      {.x = x, .w = w, .bias = bias, .targets = targets, .max = max, .sum = sum, .target = target, .scratch = {}});
  EXPECT_TRUE(all_near(max, r.tensor("max", {5}), near, near));
  EXPECT_TRUE(all_near(sum, r.tensor("sum", {5}), near, near));
  EXPECT_TRUE(all_near(target, r.tensor("target", {5}), near, near));
}

}  // namespace
}  // namespace lamina
