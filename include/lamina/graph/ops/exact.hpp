#pragma once

#include "lamina/graph/op.hpp"
#include "lamina/graph/ops/loss.hpp"

namespace lamina::graph {

/// Sums of canonical mode: f64 that are multiples of 2^-fraction, so that every order of adding gives the same bits;
/// `limit` is the largest size of one rank's sum. kernels/fixed_point.hpp.
struct ExactSums {
  int fraction = 0;
  double limit = 0;
};

/// Another op with exact sums: kind, operands, rule and cost are its own; f32 and bf16 outputs in the bit mask
/// `outputs` become f64, and the attributes say `fraction` and `limit`; of the head's ops `logits_fraction` and
/// `logits_limit` too, for the products inside. Made by the plan, after differentiation.
class Exact final : public Op {
 public:
  Exact(OpPtr op, ExactSums sums, unsigned outputs, ExactSums logits = {});
  OpPtr const& op() const { return op_; }

  std::string_view kind() const override { return op_->kind(); }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return op_->shard_rule(); }
  Cost cost(std::span<TensorSpec const> in) const override { return op_->cost(in); }
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool accumulates(int output) const override { return op_->accumulates(output); }
  int overwrites(int output) const override { return op_->overwrites(output); }
  bool is_weight(int input) const override { return op_->is_weight(input); }

 private:
  OpPtr op_;
  ExactSums sums_;
  unsigned outputs_;
  ExactSums logits_;
};

/// sum f64 = sum over the vocabulary of exp(logit - max), given the maximum over all of it: what softmax_rescale
/// leaves, in fixed point. Inputs x, w, [bias] as `head_loss_stats`, max f32. The vocabulary may be split.
class HeadLossSum final : public Op {
 public:
  struct Attrs {
    bool bias = false;
    ExactSums sums;    // of the exponentials
    ExactSums logits;  // of the products
  };
  explicit HeadLossSum(Attrs attrs) : attrs_(attrs) {}
  Attrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "head_loss_sum"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {attrs_.bias ? "*d!,vd,v,* -> *" : "*d!,vd,* -> *"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool is_weight(int input) const override { return input == 1; }

 private:
  Attrs attrs_;
};

}  // namespace lamina::graph
