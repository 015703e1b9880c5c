// The plain references against PyTorch: tests/data/kernels/make_reference.py.
#include <fstream>
#include <nlohmann/json.hpp>

#include "lamina/kernels/activation.hpp"
#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/attention.hpp"
#include "lamina/kernels/embedding.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "lamina/kernels/loss_sum.hpp"
#include "lamina/kernels/sgd.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;
constexpr double near = 2e-6;

nlohmann::json const& reference() {
  static auto const json = nlohmann::json::parse(std::ifstream(LAMINA_TEST_DATA "/kernels/reference.json"));
  return json;
}

Tensor tensor(nlohmann::json const& values, Shape shape, DType dtype = DType::f32) {
  Tensor t(dtype, shape);
  EXPECT_EQ(t.spec().count(), static_cast<std::int64_t>(values.size()));
  for (std::int64_t i = 0; i < t.spec().count(); ++i) t.set(i, values[static_cast<std::size_t>(i)].get<double>());
  return t;
}

TEST(Reference, layer_norm_and_its_gradient_are_pytorchs) {
  auto const& c = reference()["layer_norm"];
  auto x = tensor(c["x"], {3, 7}), scale = tensor(c["scale"], {7}), shift = tensor(c["shift"], {7});
  auto dy = tensor(c["dy"], {3, 7});
  Tensor y(DType::f32, {3, 7}), mean(DType::f32, {3}), rstd(DType::f32, {3});
  kernels::layer_norm_reference({.x = x, .scale = scale, .shift = shift, .y = y, .mean = mean, .rstd = rstd});
  EXPECT_TRUE(all_near(y, tensor(c["y"], {3, 7}), near, near));
  Tensor dx(DType::f32, {3, 7}), dscale(DType::f32, {7}), dshift(DType::f32, {7});
  kernels::layer_norm_grad_reference({.dy = dy,
                                      .x = x,
                                      .scale = scale,
                                      .mean = mean,
                                      .rstd = rstd,
                                      .residual = {},
                                      .dx = dx,
                                      .dscale = dscale,
                                      .dshift = dshift,
                                      .scratch = {}});
  EXPECT_TRUE(all_near(dx, tensor(c["dx"], {3, 7}), near, near));
  EXPECT_TRUE(all_near(dscale, tensor(c["dscale"], {7}), near, near));
  EXPECT_TRUE(all_near(dshift, tensor(c["dshift"], {7}), near, near));
}

TEST(Reference, gelu_and_its_slope_are_pytorchs) {
  auto const& c = reference()["gelu"];
  auto const count = static_cast<std::int64_t>(c["z"].size());
  auto z = tensor(c["z"], {count}), ones = Tensor::of(DType::f32, std::vector<double>(c["z"].size(), 1));
  Tensor y(DType::f32, {count}), dz(DType::f32, {count});
  kernels::gelu_reference({.z = z, .y = y});
  kernels::gelu_grad_reference({.dy = ones, .z = z, .dz = dz});
  EXPECT_TRUE(all_near(y, tensor(c["y"], {count}), near, 1e-6));  // PyTorch's f32 cancels for negative z
  EXPECT_TRUE(all_near(dz, tensor(c["slope"], {count}), near, 2e-6));
}

TEST(Reference, attention_and_its_gradient_are_pytorchs) {
  for (bool causal : {false, true}) {
    auto const& c = reference()[causal ? "attention_causal" : "attention_full"];
    auto qkv = tensor(c["qkv"], {2, 5, 3, 3, 4}), dy = tensor(c["dy"], {2, 5, 3, 4});
    Tensor y(DType::f32, {2, 5, 3, 4}), lse(DType::f32, {2, 3, 5}), dqkv(DType::f32, {2, 5, 3, 3, 4});
    kernels::attention_reference({.qkv = qkv, .rng = {}, .y = y, .lse = lse, .scratch = {}, .causal = causal});
    EXPECT_TRUE(all_near(y, tensor(c["y"], {2, 5, 3, 4}), near, near));
    EXPECT_TRUE(all_near(lse, tensor(c["lse"], {2, 3, 5}), near, near));
    kernels::attention_grad_reference(
        {.dy = dy, .qkv = qkv, .y = y, .lse = lse, .rng = {}, .dqkv = dqkv, .scratch = {}, .causal = causal});
    EXPECT_TRUE(all_near(dqkv, tensor(c["dqkv"], {2, 5, 3, 3, 4}), near, near));
  }
}

TEST(Reference, three_steps_of_adamw_and_sgd_are_pytorchs) {
  for (bool adam : {true, false}) {
    auto const& c = reference()[adam ? "adamw" : "sgd"];
    auto p = tensor(c["p"], {11});
    auto m = Tensor::of(DType::f32, std::vector<double>(11, 0)), v = m;
    for (std::size_t step = 0; step < 3; ++step) {
      auto g = tensor(c["g"][step], {11});
      auto hyper = Tensor::of(DType::f64, {0.01, static_cast<double>(step + 1), 0.5, 0});
      if (adam) {
        kernels::adamw_reference({.g = g,
                                  .p = p,
                                  .m = m,
                                  .v = v,
                                  .hyper = hyper,
                                  .beta1 = 0.9,
                                  .beta2 = 0.95,
                                  .eps = 1e-8,
                                  .weight_decay = 0.1});
      } else {
        kernels::sgd_reference({.g = g, .p = p, .m = m, .hyper = hyper, .momentum = 0.9, .weight_decay = 0.1});
      }
      EXPECT_TRUE(all_near(p, tensor(c["steps"][step], {11}), near, 1e-7)) << "step " << step + 1;
    }
  }
}

TEST(Reference, embedding_with_positions_and_its_gradient_are_pytorchs) {
  auto const& c = reference()["embedding"];
  auto table = tensor(c["table"], {6, 3}), positions = tensor(c["positions"], {5, 3});
  auto ids = tensor(c["ids"], {2, 4}, DType::i32), dx = tensor(c["dx"], {2, 4, 3});
  Tensor x(DType::f32, {2, 4, 3}), dtable(DType::f32, {6, 3}), dpositions(DType::f32, {5, 3});
  kernels::embedding_reference({.table = table, .ids = ids, .positions = positions, .position = {}, .x = x});
  kernels::embedding_grad_reference({.dx = dx, .ids = ids, .dtable = dtable, .dpositions = dpositions});
  EXPECT_TRUE(all_near(x, tensor(c["x"], {2, 4, 3}), near, near));
  EXPECT_TRUE(all_near(dtable, tensor(c["dtable"], {6, 3}), near, near));
  EXPECT_TRUE(all_near(dpositions, tensor(c["dpositions"], {5, 3}), near, near));
}

TEST(Reference, loss_sum_is_pytorchs_cross_entropy_with_an_ignored_target) {
  auto const& c = reference()["loss_sum"];
  auto max = tensor(c["max"], {6}), sum = tensor(c["sum"], {6}), target = tensor(c["target"], {6});
  auto targets = tensor(c["targets"], {6}, DType::i32);
  Tensor loss(DType::f64, {2});
  kernels::loss_sum_reference({.max = max, .sum = sum, .target = target, .targets = targets, .loss = loss});
  EXPECT_TRUE(all_near(loss, tensor(c["loss"], {2}, DType::f64), near));
}

}  // namespace
}  // namespace lamina
