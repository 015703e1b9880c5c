#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/sgd.hpp"
#include "lamina/kernels/square_norm.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;

Tensor hyper(double lr, double step, double scale, double skip = 0) {
  return Tensor::of(DType::f64, {lr, step, scale, skip});
}

struct State {
  explicit State(std::int64_t count)
      : g(Tensor::random(DType::f32, {count}, 1)),
        p(Tensor::random(DType::f32, {count}, 2)),
        m(Tensor::random(DType::f32, {count}, 3, 0.1)),
        v(Tensor::random(DType::f32, {count}, 4, 0.1, 0.1)) {}
  Tensor g, p, m, v;
  kernels::AdamWArgs adamw(Tensor& h) {
    return {.g = g, .p = p, .m = m, .v = v, .hyper = h, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
  }
  kernels::SgdArgs sgd(Tensor& h, double momentum) {
    return {.g = g, .p = p, .m = m, .hyper = h, .momentum = momentum, .weight_decay = 0.1};
  }
};

TEST(AdamW, matches_the_reference_at_every_length_and_step) {
  for (std::int64_t count : {0, 1, 17, 127, 20011}) {
    for (double step : {1., 7., 100000.}) {
      State fast(count), slow(count);
      auto h = hyper(1e-3, step, 0.37);
      device::Stream stream;
      kernels::adamw(stream, fast.adamw(h));
      kernels::adamw_reference(slow.adamw(h));
      EXPECT_TRUE(all_near(fast.p, slow.p, 1e-6, 1e-7));
      EXPECT_TRUE(all_near(fast.m, slow.m, 1e-6, 1e-8));
      EXPECT_TRUE(all_near(fast.v, slow.v, 1e-6, 1e-9));
    }
  }
}

TEST(Sgd, matches_the_reference_with_and_without_momentum) {
  for (std::int64_t count : {0, 1, 127, 20011}) {
    for (double momentum : {0., 0.9}) {
      for (double step : {1., 2.}) {
        State fast(count), slow(count);
        auto h = hyper(0.1, step, 0.5);
        device::Stream stream;
        kernels::sgd(stream, fast.sgd(h, momentum));
        kernels::sgd_reference(slow.sgd(h, momentum));
        EXPECT_TRUE(all_near(fast.p, slow.p, 1e-6, 1e-7));
        EXPECT_TRUE(all_near(fast.m, slow.m, 1e-6, 1e-7));
      }
    }
  }
}

TEST(Optimizer, touches_nothing_when_the_step_is_skipped) {
  State state(50);
  state.g.set(3, std::nan(""));
  State const before = state;
  auto h = hyper(0.1, 2, 1, 1);
  device::Stream stream;
  kernels::adamw(stream, state.adamw(h));
  kernels::sgd(stream, state.sgd(h, 0.9));
  EXPECT_TRUE(state.p == before.p);
  EXPECT_TRUE(state.m == before.m);
  EXPECT_TRUE(state.v == before.v);
}

TEST(Optimizer, refuses_moments_of_another_shape) {
  State state(8);
  auto h = hyper(0.1, 1, 1);
  auto args = state.adamw(h);
  args.v.spec.shape = {2, 4};
  device::Stream stream;
  EXPECT_EQ(test::error_of([&] { kernels::adamw(stream, args); }).subject, "adamw: v");
}

TEST(SquareNorm, of_several_tensors_matches_the_reference_and_counts_what_is_not_finite) {
  auto a = Tensor::random(DType::f32, {3, 7}, 1), b = Tensor::random(DType::f32, {100003}, 2, 1e3);
  Tensor none(DType::f32, {0});
  a.set(0, std::nan("")), b.set(5, HUGE_VAL), b.set(100002, -HUGE_VAL), a.set(1, 3e38);
  std::vector<TensorRef> const all{a, none, b};
  Tensor norm(DType::f64, {2}), expected = norm;
  device::Stream stream;
  kernels::square_norm(stream, {.g = all, .norm = norm});
  kernels::square_norm_reference({.g = all, .norm = expected});
  EXPECT_TRUE(all_near(norm, expected, 1e-13));
  EXPECT_EQ(norm.get(1), 3);
  kernels::square_norm(stream, {.g = {}, .norm = norm});
  EXPECT_EQ(norm.get(0), 0);
}

TEST(SquareNorm, has_the_same_bits_in_one_call_and_in_several_that_accumulate) {
  auto a = Tensor::random(DType::f32, {313, 7}, 1), b = Tensor::random(DType::f32, {100003}, 2, 1e3),
       c = Tensor::random(DType::f32, {1}, 3);
  a.set(0, std::nan("")), b.set(5, HUGE_VAL);
  std::vector<TensorRef> const all{a, b, c}, first{a}, rest{b, c};
  Tensor norm(DType::f64, {2}), parts = norm, slow = norm;
  device::Stream stream;
  kernels::square_norm(stream, {.g = all, .norm = norm});
  kernels::square_norm(stream, {.g = first, .norm = parts});
  kernels::square_norm(stream, {.g = rest, .norm = parts, .accumulate = 1});
  EXPECT_TRUE(parts == norm);
  kernels::square_norm(stream, {.g = {}, .norm = parts, .accumulate = 1});
  EXPECT_TRUE(parts == norm) << "nothing is added";
  kernels::square_norm_reference({.g = first, .norm = slow});
  kernels::square_norm_reference({.g = rest, .norm = slow, .accumulate = 1});
  EXPECT_TRUE(all_near(slow, norm, 1e-13));
}

TEST(Optimizer, gives_the_same_bits_on_one_and_two_threads) {
  test::expect_same_bits_on_one_and_two_threads([] {
    State state(200003);
    auto h = hyper(1e-3, 3, 0.5);
    Tensor norm(DType::f64, {2});
    device::Stream stream;
    kernels::adamw(stream, state.adamw(h));
    std::vector<TensorRef> const all{state.p, state.v};
    kernels::square_norm(stream, {.g = all, .norm = norm});
    return std::vector{state.p, state.m, state.v, norm};
  });
}

}  // namespace
}  // namespace lamina
