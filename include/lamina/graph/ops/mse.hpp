#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// loss f64[2] (+)= {sum over counted samples of the mean over their N outputs of (x - y)^2, number of counted
/// samples}, so that sum / number is PyTorch's MSELoss. Inputs x[B, N] f32, y[B, N] f32, counted[B] i32, negative =
/// ignored.
class Mse final : public Op {
 public:
  std::string_view kind() const override { return "mse"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  /// The outputs stay whole: a rank with some of them would count every sample again.
  ShardRule shard_rule() const override { return {"b*!,b*,b -> +."}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  bool accumulates(int) const override { return true; }
};

/// dx = 2 (x - y) / N, 0 in ignored samples: the gradient of the sum. Inputs as `mse`; dx like x.
class MseGrad final : public Op {
 public:
  std::string_view kind() const override { return "mse_grad"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"b*!,b*,b -> b*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
};

}  // namespace lamina::graph
