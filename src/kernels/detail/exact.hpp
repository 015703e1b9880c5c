#pragma once

// Sums in fixed point: src/kernels/exact.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "lamina/kernels/fixed_point.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels::detail {

/// Rounds to multiples of 2^-fraction, ties to even: adding 1.5 * 2^(52 - fraction) leaves no bits for less.
class Grid {
 public:
  explicit Grid(int fraction) : magic_(std::ldexp(1.5, 52 - fraction)), range_(std::ldexp(1.0, 51 - fraction)) {}

  double magic() const { return magic_; }
  /// Of a term.
  double range() const { return range_; }
  /// |x| <= range, or not finite.
  double round(double x) const { return (x + magic_) - magic_; }

 private:
  double magic_, range_;
};

/// Remembers one sum that is out of range. Any thread.
class Overflow {
 public:
  /// Keeps NaN and infinity out of this: they are the loop's affair.
  void check(double value, double limit) {
    if (std::abs(value) > limit && std::isfinite(value)) found_.store(value, std::memory_order_relaxed);
  }
  /// @throws Error "kernels.exact.range".
  void require(std::string_view op, std::string_view output, FixedPoint const& sums) const;

 private:
  std::atomic<double> found_{0};
};

/// A sum that one thread makes of terms.
class ExactSum {
 public:
  ExactSum(Grid const& grid, double start) : grid_(grid), value_(start) {}
  void add(double term, Overflow& overflow) {
    overflow.check(term, grid_.range());
    value_ += grid_.round(term);
    overflow.check(value_, 2 * grid_.range());
  }
  double value() const { return value_; }

 private:
  Grid const& grid_;
  double value_;
};

/// One operand of a product as rows of terms: element (row, k) is at row * row_stride + k * k_stride.
struct Terms {
  TensorRef of;
  std::int64_t rows = 0, row_stride = 0, k_stride = 0;
  bool to_bf16 = false;  ///< round f32 to bf16
};

/// c[i, j] (+)= start[j] + sum over k of a(i, k) b(j, k), every product and start in fixed point.
struct ExactProduct {
  Terms a, b;
  std::int64_t k = 0;
  double* c = nullptr;
  std::int64_t c_stride = 0;
  bool add = false;
  float const* start = nullptr;  ///< or none
  FixedPoint sums;
};
void exact_product(ExactProduct const& p, Overflow& overflow);

/// The part of `layer_norm_grad` that is a function of one row: dx of rows [begin, end), by plain loops.
void layer_norm_grad_rows(LayerNormGradArgs const& a, std::int64_t begin, std::int64_t end);

}  // namespace lamina::kernels::detail
