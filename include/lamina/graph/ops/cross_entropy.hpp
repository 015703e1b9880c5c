#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// loss f64[2] (+)= {sum over counted rows of log(sum_c exp(x_c)) - x_target, number of counted rows}: softmax
/// cross-entropy of logits that exist as a whole (`head_loss` never stores those of a vocabulary). Inputs x[rows, C]
/// f32, any leading dims; targets[rows] i32, negative = ignored.
class CrossEntropy final : public Op {
 public:
  std::string_view kind() const override { return "cross_entropy"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"*c!,* -> +."}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  bool accumulates(int) const override { return true; }
};

/// dx = softmax(x) - onehot(target), 0 in ignored rows: the gradient of the sum. Inputs x f32, targets; dx like x.
class CrossEntropyGrad final : public Op {
 public:
  std::string_view kind() const override { return "cross_entropy_grad"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"*c!,* -> *c"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
};

/// hits f64[2] (+)= {counted rows whose largest logit is the target's, number of counted rows}. Of equal logits the
/// first counts as the largest; a row with a NaN is never a hit. Inputs as `cross_entropy`; no gradient.
class Accuracy final : public Op {
 public:
  std::string_view kind() const override { return "accuracy"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"*c!,* -> +."}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  bool accumulates(int) const override { return true; }
};

}  // namespace lamina::graph
