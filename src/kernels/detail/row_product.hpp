#pragma once

#include "linear.hpp"

namespace lamina::kernels::detail {

/// A product with so few rows (decoding) is as fast as its weights are read.
inline constexpr std::int64_t few_rows = 4;

/// c[m][n] = sum over k of x[m][k] w[n][k] + bias[n], then `activated` as in Product, for m <= few_rows; w is f32 or
/// bf16, rounded to x's type when that is bf16. Threads share out n; every sum has the same order.
/// @throws Error "kernels.<op>.scratch".
void multiply_few_rows(Check const& check, Product const& p, TensorRef const& w, Scratch scratch);

}  // namespace lamina::kernels::detail
