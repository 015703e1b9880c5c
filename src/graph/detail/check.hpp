#pragma once

#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "lamina/graph/op.hpp"

/// What the ops' `infer` and `cost` share. Codes: "graph.<kind>.operands | dtype | ndim | shape | attribute".
namespace lamina::graph::detail {

/// The inputs of one op with their names, for errors that say which one is wrong.
class Inputs {
 public:
  /// Requires as many inputs as there are names; an empty name is skipped (an optional input that is not there).
  /// @throws Error "graph.<kind>.operands".
  Inputs(std::string_view kind, std::span<TensorSpec const> in, std::initializer_list<std::string_view> names);

  TensorSpec const& operator[](int i) const { return in_[static_cast<std::size_t>(i)]; }
  Inputs const& dtype(int i, std::initializer_list<DType> allowed) const;
  Inputs const& ndim(int i, int exactly) const;
  Inputs const& ndim_at_least(int i, int least) const;
  /// Input `i` has exactly this shape; `why` says whose it is: "D of x".
  Inputs const& shape(int i, Shape const& expected, std::string_view why) const;
  Inputs const& extent(int i, int dim, std::int64_t expected, std::string_view why) const;
  [[noreturn]] void fail_shape(int i, std::string_view expected) const;

 private:
  std::string_view kind_;
  std::span<TensorSpec const> in_;
  std::vector<std::string_view> names_;
};

/// @throws Error "graph.<kind>.attribute" unless `ok`.
void require_attribute(std::string_view kind, bool ok, std::string_view name, double value, std::string_view expected);

Shape without_last(Shape const& s, int dims = 1);
Shape concat(Shape const& a, Shape const& b);
Shape slice(Shape const& s, int first, int last);

/// Bytes of all inputs and outputs.
std::int64_t traffic(std::span<TensorSpec const> in, std::span<TensorSpec const> out);
/// `flops` and the traffic of `op`.
Cost cost_of(Op const& op, std::span<TensorSpec const> in, std::int64_t flops);

/// Room for a library's own scratchpad: see the table in src/graph/README.md.
std::int64_t library_bytes(int threads);

inline constexpr std::initializer_list<DType> real_types = {DType::f32, DType::bf16};

}  // namespace lamina::graph::detail
