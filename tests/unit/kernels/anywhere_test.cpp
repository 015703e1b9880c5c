// Canonical mode takes these kernels as they are: the bits of an element must not depend on where it lies, on what lies
// beside it, or on how many there are.
#include <cstring>
#include <functional>

#include "lamina/kernels/activation.hpp"
#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/add.hpp"
#include "lamina/kernels/attention.hpp"
#include "lamina/kernels/cast.hpp"
#include "lamina/kernels/cross_entropy.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "lamina/kernels/mse.hpp"
#include "lamina/kernels/sgd.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::cut;
using test::Tensor;

constexpr auto f32 = DType::f32, bf16 = DType::bf16, f64 = DType::f64, i32 = DType::i32;

bool same_bits(Tensor& a, Tensor& b) {
  return a.spec() == b.spec() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.spec().bytes())) == 0;
}

/// A kernel over tensors of equal rows: some are read, some written (or both).
struct Case {
  char const* name;
  std::vector<Tensor> tensors;
  std::function<void(device::Stream&, std::vector<Tensor>&)> run;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (auto const& shape : {Shape{1031}, Shape{61, 7}, Shape{37, 50}}) {
    bool const flat = shape.ndim() == 1;
    auto const z = Tensor::random(f32, shape, 1, 4), dz = Tensor::random(f32, shape, 2),
               wide = Tensor::random(f64, shape, 3);
    auto const small = Tensor::random(f32, shape, 4, 0.01), square = Tensor::random(f32, shape, 5, 0.004, 0.005);
    auto hyper = Tensor::of(f64, {0.01, 3, 0.37, 0});
    for (auto const dtype : {f32, bf16}) {
      auto const x = Tensor::random(dtype, shape, 6, 4), y = Tensor::random(dtype, shape, 7);
      all.push_back({"gelu", {x, y}, [](auto& s, auto& t) { kernels::gelu(s, {.z = t[0], .y = t[1]}); }});
      all.push_back({"relu", {x, y}, [](auto& s, auto& t) { kernels::relu(s, {.z = t[0], .y = t[1]}); }});
      all.push_back({"gelu_grad", {x, y, y}, [](auto& s, auto& t) {
                       kernels::gelu_grad(s, {.dy = t[1], .z = t[0], .dz = t[2]});
                     }});
      all.push_back({"relu_grad", {x, y, y}, [](auto& s, auto& t) {
                       kernels::relu_grad(s, {.dy = t[1], .z = t[0], .dz = t[2]});
                     }});
      all.push_back({"add", {z, y, dz}, [](auto& s, auto& t) { kernels::add(s, {.a = t[0], .b = t[1], .y = t[2]}); }});
      all.push_back({"cast", {wide, y}, [](auto& s, auto& t) { kernels::cast(s, {.x = t[0], .y = t[1]}); }});
      all.push_back({"cast", {z, y}, [](auto& s, auto& t) { kernels::cast(s, {.x = t[0], .y = t[1]}); }});
    }
    all.push_back(
        {"add f64", {wide, wide, wide}, [](auto& s, auto& t) { kernels::add(s, {.a = t[0], .b = t[1], .y = t[2]}); }});
    for (auto const& g : {dz, wide}) {
      all.push_back({"adamw", {g, z, small, square}, [hyper](auto& s, auto& t) mutable {
                       kernels::adamw(
                           s, {.g = t[0], .p = t[1], .m = t[2], .v = t[3], .hyper = hyper, .weight_decay = 0.1});
                     }});
      all.push_back({"sgd", {g, z, small}, [hyper](auto& s, auto& t) mutable {
                       kernels::sgd(
                           s, {.g = t[0], .p = t[1], .m = t[2], .hyper = hyper, .momentum = 0.9, .weight_decay = 0.1});
                     }});
    }
    if (flat) continue;
    auto scale = Tensor::random(f32, {shape[1]}, 8), shift = Tensor::random(f32, {shape[1]}, 9);
    Tensor const mean(f32, {shape[0]});
    auto const targets = Tensor::integers({shape[0]}, 10, static_cast<std::uint32_t>(shape[1]));
    for (auto const dtype : {f32, bf16}) {
      all.push_back({"layer_norm", {z, Tensor(dtype, shape), mean, mean}, [=](auto& s, auto& t) mutable {
                       kernels::layer_norm(
                           s, {.x = t[0], .scale = scale, .shift = shift, .y = t[1], .mean = t[2], .rstd = t[3]});
                     }});
    }
    all.push_back({"cross_entropy_grad", {z, targets, dz}, [](auto& s, auto& t) {
                     kernels::cross_entropy_grad(s, {.x = t[0], .targets = t[1], .dx = t[2]});
                   }});
    all.push_back({"mse_grad", {z, dz, targets, dz}, [](auto& s, auto& t) {
                     kernels::mse_grad(s, {.x = t[0], .y = t[1], .counted = t[2], .dx = t[3]});
                   }});
  }
  return all;
}

TEST(Anywhere, elements_and_rows_have_the_same_bits) {
  device::Stream stream;
  for (auto const& c : cases()) {
    auto const n = c.tensors[0].spec().shape[0];
    SCOPED_TRACE(text(c.name, ' ', c.tensors[0].spec(), " to ", c.tensors[1].spec()));
    auto whole = c.tensors;
    c.run(stream, whole);
    for (auto const& [first, count] :
         {std::pair{std::int64_t{0}, std::int64_t{1}}, {1, 16}, {3, n - 3}, {n - 1, 1}, {5, 29}, {2, 19}}) {
      std::vector<Tensor> part;
      for (auto const& t : c.tensors) part.push_back(cut(t, 0, first, count));
      c.run(stream, part);
      for (std::size_t i = 0; i < part.size(); ++i) {
        auto expected = cut(whole[i], 0, first, count);
        EXPECT_TRUE(same_bits(part[i], expected)) << "tensor " << i << ", rows " << first << " + " << count;
      }
    }
  }
}

struct Sizes {
  std::int64_t B, T, N, H;
};

TEST(Anywhere, heads_and_samples_have_the_same_attention) {
  device::Stream stream;
  for (auto const dtype : {f32, bf16}) {
    for (auto const& s : {Sizes{2, 1, 4, 3}, {3, 12, 4, 6}, {2, 67, 4, 16}, {2, 130, 2, 20}}) {
      for (bool const causal : {true, false}) {
        for (double const p : {0.0, 0.3}) {
          SCOPED_TRACE(text(s.B, ' ', s.T, ' ', s.N, ' ', s.H, ' ', dtype, causal ? " causal" : "", " p ", p));
          auto qkv = Tensor::random(dtype, {s.B, s.T, 3, s.N, s.H}, 1, 2),
               dy = Tensor::random(dtype, {s.B, s.T, s.N, s.H}, 2);
          Tensor rng(DType::i64, {3}), scratch(DType::u8, {8 << 20});
          rng.set(0, 7), rng.set(1, 3), rng.set(2, 11);
          struct Result {
            Tensor y, lse, dqkv;
          };
          auto const run = [&](Tensor& x, Tensor& g, std::int64_t sample, kernels::HeadPart part) {
            auto const& q = x.spec().shape;
            Result r{Tensor(dtype, {q[0], q[1], q[3], q[4]}), Tensor(f32, {q[0], q[3], q[1]}), Tensor(x.spec())};
            kernels::attention(stream, {.qkv = x,
                                        .rng = p > 0 ? rng.ref() : TensorRef{},
                                        .y = r.y,
                                        .lse = r.lse,
                                        .scratch = scratch,
                                        .causal = causal,
                                        .p = p,
                                        .operation = 5,
                                        .sample = sample,
                                        .heads = part});
            kernels::attention_grad(stream, {.dy = g,
                                             .qkv = x,
                                             .y = r.y,
                                             .lse = r.lse,
                                             .rng = p > 0 ? rng.ref() : TensorRef{},
                                             .dqkv = r.dqkv,
                                             .scratch = scratch,
                                             .causal = causal,
                                             .p = p,
                                             .operation = 5,
                                             .sample = sample,
                                             .heads = part});
            return r;
          };
          auto const whole = run(qkv, dy, 0, {});
          for (auto const& [b, n, count] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{0, 0, 1},
                                            {1, s.N / 2, s.N / 2},
                                            {s.B - 1, s.N - 1, 1}}) {
            auto x = cut(cut(qkv, 0, b, 1), 3, n, count), g = cut(cut(dy, 0, b, 1), 2, n, count);
            auto part = run(x, g, b, {.first = n, .count = s.N});
            auto y = cut(cut(whole.y, 0, b, 1), 2, n, count), lse = cut(cut(whole.lse, 0, b, 1), 1, n, count);
            auto dqkv = cut(cut(whole.dqkv, 0, b, 1), 3, n, count);
            EXPECT_TRUE(same_bits(part.y, y)) << b << ' ' << n;
            EXPECT_TRUE(same_bits(part.lse, lse)) << b << ' ' << n;
            EXPECT_TRUE(same_bits(part.dqkv, dqkv)) << b << ' ' << n;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace lamina
