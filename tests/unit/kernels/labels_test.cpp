// Listens to Kokkos while every kernel runs: after ArborX's test of its own labels.
#include "kernels/detail/labels.hpp"

#include <set>

#include "lamina/kernels/activation.hpp"
#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/add.hpp"
#include "lamina/kernels/attention.hpp"
#include "lamina/kernels/cast.hpp"
#include "lamina/kernels/cross_entropy.hpp"
#include "lamina/kernels/dropout.hpp"
#include "lamina/kernels/embedding.hpp"
#include "lamina/kernels/fill.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "lamina/kernels/loss_sum.hpp"
#include "lamina/kernels/mse.hpp"
#include "lamina/kernels/select_token.hpp"
#include "lamina/kernels/sgd.hpp"
#include "lamina/kernels/slice.hpp"
#include "lamina/kernels/softmax_rescale.hpp"
#include "lamina/kernels/square_norm.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::Tensor;

std::set<std::string>* heard = nullptr;

void run_everything() {
  std::int64_t const B = 2, T = 40, N = 4, H = 64, D = N * H, rows = B * T, V = 30;
  Shape const x_shape{B, T, D}, row_shape{B, T};
  device::Stream stream;
  auto x = Tensor::random(DType::f32, x_shape, 1), y = x, z = x, w = Tensor::random(DType::f32, {D}, 2), w2 = w;
  auto mean = Tensor::random(DType::f32, row_shape, 3), rstd = mean,
       sum = Tensor::random(DType::f32, row_shape, 4, 1, 2);
  Tensor scratch(DType::u8, {4 << 20}), y16(DType::bf16, x_shape), pair(DType::f64, {2}), last_y(DType::f32, {B, D});
  auto hyper = Tensor::of(DType::f64, {0.1, 1, 1, 0}), ids = Tensor::integers({B, T}, 5, V);
  auto table = Tensor::random(DType::f32, {V, D}, 6), positions = Tensor::random(DType::f32, {T, D}, 7);
  auto one = Tensor::of(DType::i32, {1});
  Tensor rng(DType::i64, {3});
  kernels::fill(stream, {.y = rng, .value = 1});
  kernels::zero(stream, {.y = y});
  kernels::layer_norm(stream, {.x = x, .scale = w, .shift = w2, .y = y, .mean = mean, .rstd = rstd});
  kernels::add_layer_norm(stream,
                          {.a = x, .b = y, .scale = w, .shift = w2, .r = z, .y = y, .mean = mean, .rstd = rstd});
  kernels::layer_norm_grad(stream, {.dy = y,
                                    .x = x,
                                    .scale = w,
                                    .mean = mean,
                                    .rstd = rstd,
                                    .residual = {},
                                    .dx = z,
                                    .dscale = w2,
                                    .dshift = w,
                                    .scratch = scratch});
  kernels::gelu(stream, {.z = x, .y = y});
  kernels::gelu_grad(stream, {.dy = y, .z = x, .dz = z});
  kernels::relu(stream, {.z = x, .y = y});
  kernels::relu_grad(stream, {.dy = y, .z = x, .dz = z});
  kernels::add(stream, {.a = x, .b = y, .y = z});
  kernels::cast(stream, {.x = x, .y = y16});
  kernels::dropout(stream, {.x = x, .rng = rng, .y = y, .p = 0.5});
  kernels::select_token(stream, {.x = x, .last = one, .y = last_y});
  kernels::loss_sum(stream, {.max = mean, .sum = sum, .target = mean, .targets = ids, .loss = pair});
  auto logits = Tensor::random(DType::f32, {5, 7}, 20), values = logits, dx = logits;
  auto labels = Tensor::integers({5}, 21, 7);
  kernels::cross_entropy(stream, {.x = logits, .targets = labels, .loss = pair});
  kernels::cross_entropy_grad(stream, {.x = logits, .targets = labels, .dx = dx});
  kernels::accuracy(stream, {.x = logits, .targets = labels, .hits = pair});
  kernels::mse(stream, {.x = logits, .y = values, .counted = labels, .loss = pair});
  kernels::mse_grad(stream, {.x = logits, .y = values, .counted = labels, .dx = dx});
  kernels::softmax_rescale(stream, {.sum = sum, .own_max = mean, .max = mean, .y = sum});
  kernels::slice(stream, {.x = x, .y = {last_y.data(), {DType::f32, {B, 1, D}}}, .dim = 1, .first = 1});
  kernels::embedding(stream, {.table = table, .ids = ids, .positions = positions, .position = {}, .x = x});
  kernels::embedding_grad(stream, {.dx = x, .ids = ids, .dtable = table, .dpositions = positions});
  kernels::adamw(stream, {.g = x, .p = y, .m = z, .v = z, .hyper = hyper});
  kernels::sgd(stream, {.g = x, .p = y, .m = {}, .hyper = hyper});
  auto large = Tensor::of(DType::f32, std::vector<double>(40000, 1));
  std::vector<TensorRef> const all{x, large};
  kernels::square_norm(stream, {.g = all, .norm = pair});
  auto qkv = Tensor::random(DType::f32, {B, T, 3, N, H}, 8), dqkv = qkv;
  Tensor a_y(DType::f32, {B, T, N, H}), lse(DType::f32, {B, N, T}), k(DType::f32, {B, N, T + 1, H}), v = k;
  kernels::attention(stream, {.qkv = qkv, .rng = {}, .y = a_y, .lse = lse, .scratch = scratch});
  kernels::attention_grad(stream,
                          {.dy = a_y, .qkv = qkv, .y = a_y, .lse = lse, .rng = {}, .dqkv = dqkv, .scratch = scratch});
  kernels::attention_cached(stream,
                            {.qkv = qkv, .cache_k = k, .cache_v = v, .position = one, .y = a_y, .scratch = scratch});
  EXPECT_EQ(rows, mean.spec().count());
}

TEST(Labels, of_every_kernel_and_allocation_begin_with_lamina) {
  std::set<std::string> labels;
  heard = &labels;
  kernels::detail::listen_to_labels([](char const* label) { heard->insert(label); });
  run_everything();
  kernels::detail::listen_to_labels(nullptr);
  for (auto const& label : labels) EXPECT_TRUE(label.starts_with("lamina::kernels::")) << "'" << label << "'";
  for (char const* op : {"accuracy",
                         "cross_entropy",
                         "cross_entropy_grad",
                         "slice",
                         "softmax_rescale",
                         "mse",
                         "mse_grad",
                         "adamw",
                         "add",
                         "add_layer_norm",
                         "attention",
                         "attention_cached",
                         "attention_grad",
                         "cast",
                         "dropout",
                         "embedding",
                         "embedding_grad",
                         "fill",
                         "gelu",
                         "gelu_grad",
                         "layer_norm",
                         "layer_norm_grad",
                         "loss_sum",
                         "relu",
                         "relu_grad",
                         "select_token",
                         "sgd",
                         "square_norm",
                         "zero"}) {
    EXPECT_TRUE(labels.contains(text("lamina::kernels::", op))) << op << " did not run through Kokkos";
  }
}

}  // namespace
}  // namespace lamina
