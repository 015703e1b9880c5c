#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// y = gelu(z) in the tanh form: z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) (Hendrycks and Gimpel, 2016), or
/// y = relu(z) = max(z, 0). Any shape, f32 or bf16; y like z. Computed in f32 from z as it is stored.
class Activation final : public Op {
 public:
  enum class Function : std::uint8_t { gelu, relu };
  explicit Activation(Function f) : f_(f) {}
  Function function() const { return f_; }

  std::string_view kind() const override { return f_ == Function::gelu ? "gelu" : "relu"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"* -> *"}; }
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  Function f_;
};

/// dz = dy * f'(z). dy and z of one shape and dtype, dz like them; relu'(0) = 0.
class ActivationGrad final : public Op {
 public:
  explicit ActivationGrad(Activation::Function f) : f_(f) {}
  Activation::Function function() const { return f_; }

  std::string_view kind() const override { return f_ == Activation::Function::gelu ? "gelu_grad" : "relu_grad"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"*,* -> *"}; }
  Cost cost(std::span<TensorSpec const> in) const override;

 private:
  Activation::Function f_;
};

}  // namespace lamina::graph
