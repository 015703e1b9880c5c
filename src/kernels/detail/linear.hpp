#pragma once

// What the kernels of a linear layer share: flattened shapes and the weight in the product's type.
#include "check.hpp"
#include "product.hpp"

namespace lamina::kernels::detail {

/// Rows M, output features N, input features K.
struct LinearDims {
  std::int64_t m = 0, n = 0, k = 0;
};

/// `outer` is [M dims, N dims], `inner` [M dims, K dims]. Checks both for f32 or bf16 and equal rows.
LinearDims linear_dims(Check const& check, std::string_view outer_name, TensorRef const& outer,
                       std::string_view inner_name, TensorRef const& inner, int rows_dims);

/// Checks w (n * k elements of f32 or bf16, or packed u8) and bias (n of f32, if there).
void check_weight(Check const& check, TensorRef const& w, LinearDims const& d);
void check_bias(Check const& check, std::string_view name, TensorRef const& bias, std::int64_t n);

/// w as an operand of products of type `t`: where it lies, or converted into scratch.
Matrix weight_operand(Check const& check, TensorRef const& w, std::int64_t n, std::int64_t k, DType t,
                      Scratch& scratch);

/// Fills in p.b from w and computes p: x w^T with whatever follows.
void multiply_forward(Check const& check, TensorRef const& w, Product p, Scratch scratch);

}  // namespace lamina::kernels::detail
