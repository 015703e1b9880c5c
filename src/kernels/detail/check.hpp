#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels::detail {

/// Checks of a kernel's operands. Nothing is allocated unless a check fails; then an Error
/// "kernels.<op>.<dtype|shape|scratch|...>" names the operand.
struct Check {
  std::string_view op;

  void dtype(std::string_view operand, TensorRef const& t, std::initializer_list<DType> allowed) const;
  void shape(std::string_view operand, TensorRef const& t, Shape const& expected) const;
  void count(std::string_view operand, TensorRef const& t, std::int64_t expected) const;
  void ndim(std::string_view operand, TensorRef const& t, int at_least) const;
  void present(std::string_view operand, TensorRef const& t) const;
  void scratch(TensorRef const& t, std::int64_t bytes) const;
  void probability(double p) const;  ///< [0, 1)
};

inline std::int64_t round_up(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace lamina::kernels::detail
