#pragma once

#include <string>

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// What the products of a linear layer share. Dims are taken in three runs: rows (the leading dims of x), N (output
/// features, the leading dims of w) and K (input features, the trailing dims of both): qkv is N = [3, heads,
/// head_size].
struct LinearAttrs {
  bool bias = true;
  int contract = 1;          // number of K dims
  int rows_dims = 2;         // number of leading dims of x
  DType dtype = DType::f32;  // of the output: f32 or bf16; weight gradients are f32
};

/// What the products with a weight share: inputs [rows, ...] and w. Scratch: a library's scratchpad, and room to
/// re-order w when it is not packed.
class WeightProduct : public Op {
 public:
  LinearAttrs const& attrs() const { return attrs_; }

  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool is_weight(int input) const override { return input == 1; }

 protected:
  explicit WeightProduct(LinearAttrs attrs) : attrs_(attrs) {}

 private:
  LinearAttrs attrs_;
};

/// y = x w^T + bias. x[rows, K] f32 or bf16 decides the precision of the product; w[N, K] f32 (or the plan's bf16 or
/// packed u8 copy), bias[N] f32; y[rows, N] `dtype`. Sums in f32.
class Linear final : public WeightProduct {
 public:
  explicit Linear(LinearAttrs attrs);

  std::string_view kind() const override { return "linear"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  /// One weight gradient and, where wanted, one input gradient; an f32 dy of a bf16 product is rounded to bf16 once.
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override;
};

/// z = x w^T + bias, y = activation(z): `linear` and `gelu` or `relu` in one pass; z and y like x. Made by fusion,
/// after differentiation: z is kept for `gelu_grad`. `dtype` must be that of x.
class LinearGelu final : public WeightProduct {
 public:
  LinearGelu(LinearAttrs attrs, std::string activation);
  std::string const& activation() const { return activation_; }

  std::string_view kind() const override { return "linear_gelu"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;

 private:
  std::string activation_;  // "gelu" or "relu"
};

/// dx = dy w: dy[rows, N] f32 or bf16, w[N, K]; dx[rows, K] `dtype`. `bias` means nothing here.
class LinearGradInput final : public WeightProduct {
 public:
  explicit LinearGradInput(LinearAttrs attrs);

  std::string_view kind() const override { return "linear_grad_input"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
};

/// dw[N, K] (+)= dy^T x, [dbias[N] (+)= column sums of dy]: dy[rows, N] and x[rows, K] of one dtype, outputs f32.
/// Scratch: a library's scratchpad, bias partials per thread, and room to re-order both operands.
class LinearGradWeight final : public Op {
 public:
  explicit LinearGradWeight(LinearAttrs attrs);
  LinearAttrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "linear_grad_weight"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool accumulates(int) const override { return true; }

 private:
  LinearAttrs attrs_;
};

}  // namespace lamina::graph
