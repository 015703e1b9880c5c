#include "lamina/kernels/linear.hpp"

#include <gtest/gtest.h>

#include <array>

#include "kernels/detail/product.hpp"
#include "lamina/kernels/activation.hpp"
#include "lamina/kernels/linear_gelu.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/tensor/packed.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina::kernels {
namespace {

using test::Tensor;

struct Case {
  std::int64_t m, n, k;
  DType dtype;
  bool library = false;  // oneDNN where it is there, else our own product
};

std::string name_of_case(::testing::TestParamInfo<Case> const& info) {
  auto const& c = info.param;
  return std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) + std::string(name_of(c.dtype)) +
         (c.library ? "library" : "own");
}

/// As the op plans it: 2 MiB per thread, 1 MiB, and a copy of the weight.
Tensor scratch_for(Case const& c) {
  return {DType::u8, {(std::int64_t{2 * threads() + 1} << 20) + packed_weight_bytes(c.n, c.k, c.dtype)}};
}

/// Operands lie in (-1, 1): f32 sums of `terms` products are off by some roundings of their own size, bf16 results by
/// half a unit in the last place, 2^-9 of the value, more.
::testing::AssertionResult near(Tensor const& fast, Tensor const& slow, std::int64_t terms) {
  auto const rel = slow.spec().dtype == DType::bf16 ? 1.0 / 128 : 2e-6;
  return all_near(fast, slow, rel, 6e-8 * static_cast<double>(terms) + 1e-6);
}

class Products : public ::testing::TestWithParam<Case> {
 protected:
  Case const c = GetParam();
  detail::LibraryChoice const choice{c.library};
  device::Stream stream;
  Tensor x = Tensor::random(c.dtype, {c.m, c.k}, 1), w = Tensor::random(DType::f32, {c.n, c.k}, 2),
         bias = Tensor::random(DType::f32, {c.n}, 3), dy = Tensor::random(c.dtype, {c.m, c.n}, 4),
         scratch = scratch_for(c);

  /// The weight as the plan hands it over: in the product's type, packed, or as it is.
  Tensor packed(PackUse use) {
    Tensor p(DType::u8, {packed_weight_bytes(c.n, c.k, c.dtype)});
    pack_weight(stream, {.w = w, .packed = p, .scratch = scratch, .n = c.n, .k = c.k, .dtype = c.dtype, .use = use});
    return p;
  }
};

TEST_P(Products, forward_matches_the_reference_with_any_form_of_the_weight) {
  auto w_packed = packed(PackUse::forward);
  for (DType const result : {DType::f32, c.dtype}) {
    Tensor fast(result, {c.m, c.n}), slow(result, {c.m, c.n}), from_packed(result, {c.m, c.n});
    linear_reference({.x = x, .w = w, .bias = bias, .y = slow, .scratch = {}, .rows_dims = 1});
    linear(stream, {.x = x, .w = w, .bias = bias, .y = fast, .scratch = scratch, .rows_dims = 1});
    EXPECT_TRUE(near(fast, slow, c.k));
    linear(stream, {.x = x, .w = w_packed, .bias = bias, .y = from_packed, .scratch = scratch, .rows_dims = 1});
    EXPECT_TRUE(near(from_packed, slow, c.k));
  }
}

TEST_P(Products, forward_with_activation_is_the_activation_of_the_stored_product) {
  for (auto const activation : {Activation::gelu, Activation::relu}) {
    Tensor z(c.dtype, {c.m, c.n}), y(c.dtype, {c.m, c.n}), slow_z(c.dtype, {c.m, c.n}), slow_y(c.dtype, {c.m, c.n});
    LinearGeluArgs a{.x = x, .w = w, .bias = bias, .z = z, .y = y, .scratch = scratch, .rows_dims = 1};
    a.activation = activation;
    linear_gelu(stream, a);
    a.z = slow_z, a.y = slow_y;
    linear_gelu_reference(a);
    EXPECT_TRUE(near(z, slow_z, c.k));
    if (activation == Activation::gelu) gelu_reference({.z = z, .y = slow_y});
    if (activation == Activation::relu) relu_reference({.z = z, .y = slow_y});
    EXPECT_TRUE(near(y, slow_y, 1));
  }
}

TEST_P(Products, input_gradient_matches_the_reference_with_any_form_of_the_weight) {
  auto w_packed = packed(PackUse::backward);
  for (DType const result : {DType::f32, c.dtype}) {
    Tensor fast(result, {c.m, c.k}), slow(result, {c.m, c.k}), from_packed(result, {c.m, c.k});
    linear_grad_input_reference({.dy = dy, .w = w, .dx = slow, .scratch = {}, .rows_dims = 1});
    linear_grad_input(stream, {.dy = dy, .w = w, .dx = fast, .scratch = scratch, .rows_dims = 1});
    EXPECT_TRUE(near(fast, slow, c.n));
    linear_grad_input(stream, {.dy = dy, .w = w_packed, .dx = from_packed, .scratch = scratch, .rows_dims = 1});
    EXPECT_TRUE(near(from_packed, slow, c.n));
  }
}

TEST_P(Products, weight_gradient_overwrites_or_adds_each_output_as_its_bit_says) {
  for (int const accumulate : {0, 1, 2, 3}) {
    auto fast = Tensor::random(DType::f32, {c.n, c.k}, 5), slow = Tensor::random(DType::f32, {c.n, c.k}, 5);
    auto fast_bias = Tensor::random(DType::f32, {c.n}, 6), slow_bias = Tensor::random(DType::f32, {c.n}, 6);
    LinearGradWeightArgs a{.dy = dy, .x = x, .dw = fast, .dbias = fast_bias, .scratch = scratch, .rows_dims = 1};
    a.accumulate = accumulate;
    linear_grad_weight(stream, a);
    a.dw = slow, a.dbias = slow_bias;
    linear_grad_weight_reference(a);
    EXPECT_TRUE(near(fast, slow, c.m)) << "accumulate " << accumulate;
    EXPECT_TRUE(near(fast_bias, slow_bias, c.m)) << "accumulate " << accumulate;
  }
}

class OwnProducts : public Products {};

TEST_P(OwnProducts, threads_and_the_amount_of_scratch_change_no_bit) {
  Tensor all(c.dtype, {c.m, c.n}), one(c.dtype, {c.m, c.n});
  Tensor dw_all(DType::f32, {c.n, c.k}), dw_one(DType::f32, {c.n, c.k});
  auto const run = [&](Tensor& y, Tensor& dw, Tensor memory) {
    linear(stream, {.x = x, .w = w, .bias = {}, .y = y, .scratch = memory, .rows_dims = 1});
    linear_grad_weight(stream, {.dy = dy, .x = x, .dw = dw, .dbias = {}, .scratch = memory, .rows_dims = 1});
  };
  run(all, dw_all, scratch);
  int const before = threads();
  set_threads(1);
  run(one, dw_one, {DType::u8, {scratch.spec().bytes() - (std::int64_t{2 * before} << 20)}});
  set_threads(before);
  EXPECT_TRUE(all == one);
  EXPECT_TRUE(dw_all == dw_one);
}

// One row, few rows, one column, one term; primes; around the sizes of blocks (14 rows, 32 columns, 512 words); rows of
// 4 KiB, which take another way of reading.
std::vector<Case> edges() {
  std::vector<Case> cases;
  for (DType const dtype : {DType::f32, DType::bf16}) {
    for (auto const& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{{1, 1, 1},
                                                                          {1, 67, 31},
                                                                          {3, 1, 40},
                                                                          {4, 70, 100},
                                                                          {37, 29, 1},
                                                                          {14, 32, 16},
                                                                          {15, 33, 513},
                                                                          {127, 37, 66},
                                                                          {20, 34, 1024},
                                                                          {9, 35, 2049}}) {
      cases.push_back({m, n, k, dtype});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(edges, Products, ::testing::ValuesIn(edges()), name_of_case);
INSTANTIATE_TEST_SUITE_P(edges, OwnProducts, ::testing::ValuesIn(edges()), name_of_case);  // oneDNN promises less
INSTANTIATE_TEST_SUITE_P(library, Products,
                         ::testing::Values(Case{14, 32, 16, DType::f32, true}, Case{15, 37, 29, DType::bf16, true},
                                           Case{5, 1, 40, DType::bf16, true}),
                         name_of_case);

TEST(Linear, flattens_all_dims_behind_the_rows) {
  device::Stream stream;
  auto x = Tensor::random(DType::f32, {2, 3, 4, 5}, 1), w = Tensor::random(DType::f32, {3, 2, 4, 5}, 2),
       bias = Tensor::random(DType::f32, {3, 2}, 3);
  Tensor fast(DType::f32, {2, 3, 3, 2}), slow(DType::f32, {2, 3, 3, 2});
  Tensor scratch(DType::u8, {8 << 20});
  linear(stream, {.x = x, .w = w, .bias = bias, .y = fast, .scratch = scratch});
  linear_reference({.x = x, .w = w, .bias = bias, .y = slow, .scratch = {}});
  EXPECT_TRUE(near(fast, slow, 20));
}

TEST(Linear, packs_only_for_the_library) {
  detail::LibraryChoice const choice(false);
  EXPECT_FALSE(wants_packed_weights(DType::f32));
  EXPECT_FALSE(wants_packed_weights(DType::bf16));
}

TEST(Linear, refuses_operands_that_do_not_fit) {
  device::Stream stream;
  Tensor x(DType::f32, {8, 5}), w(DType::f32, {6, 5}), y(DType::f32, {8, 6}), thin(DType::f32, {6, 4}),
      integers(DType::i32, {8, 5}), scratch(DType::u8, {8 << 20}), tiny(DType::u8, {64});
  auto const code = [&](Tensor& left, Tensor& right, Tensor& memory) {
    LinearArgs const a{.x = left, .w = right, .bias = {}, .y = y, .scratch = memory, .rows_dims = 1};
    return test::error_of([&] { linear(stream, a); }).code;
  };
  EXPECT_EQ(code(x, thin, scratch), "kernels.linear.shape");
  EXPECT_EQ(code(integers, w, scratch), "kernels.linear.dtype");
  EXPECT_EQ(code(x, w, tiny), "kernels.linear.scratch");
}

}  // namespace
}  // namespace lamina::kernels
