#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

// Softmax cross-entropy of a head: logits = x_BTD w_VD^T (+ bias_V), never stored as a whole. x may have any leading
// dims; targets i32 has them, negative = ignored. The loss is f64[2] = {sum of token losses, number of targets}.
//
// Scratch of the three head ops: a library's scratchpad, and for a chunk of R' = min(R, max(256, 2^26 / V)) rows the
// logits, of the whole vocabulary (head_loss) or of a block of it. The formulas are in src/graph/README.md.

struct HeadAttrs {
  bool bias = false;
  DType dtype = DType::f32;  // of dx where there is one: f32 or bf16
  /// Instead of dw and dbias the gradient of the logits, [leading dims of x, V] of the dtype of x: a
  /// `linear_grad_weight` makes them of it, when the schedule has time for it.
  bool split = false;
};

/// Statistics of the logits per row: inputs x f32 or bf16, w f32, [bias f32], targets; outputs max, sum of
/// exp(logit - max), and the target's logit (0 when ignored), all f32 with the leading dims of x. The vocabulary may be
/// split: then each rank has the maximum of its rows, its sum relative to that, and the target's logit where it is
/// there.
class HeadLossStats final : public Op {
 public:
  explicit HeadLossStats(HeadAttrs attrs) : attrs_(attrs) {}
  HeadAttrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "head_loss_stats"; }
  Attributes attributes() const override { return {{"bias", std::int64_t{attrs_.bias}}}; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  /// One `head_loss_grad`, for the sum of the token losses that `softmax_rescale` and `loss_sum` make of these
  /// statistics.
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool is_weight(int input) const override { return input == 1; }

 private:
  HeadAttrs attrs_;
};

/// rescaled = sum * exp(own max - max): a sum of exp(logit - own max) made relative to another maximum, so that the
/// sums over the parts of a vocabulary may be added (Milakov and Gimelshein, "Online normalizer calculation for
/// softmax", 2018; Shoeybi et al., "Megatron-LM", 2019). Inputs sum, own max, max: f32 of one shape; a model passes the
/// same value twice, and where the vocabulary is split the second one becomes the maximum over all ranks. Equal maxima
/// leave the bits of sum.
class SoftmaxRescale final : public Op {
 public:
  std::string_view kind() const override { return "softmax_rescale"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  /// Nothing: `loss_sum` has `head_loss_stats` differentiated.
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"%*,%*,* -> +*"}; }
  Cost cost(std::span<TensorSpec const> in) const override;
};

/// loss f64[2] (+)= {sum of max + log(sum) - target over counted rows, number of counted rows}.
/// Inputs max, sum, target f32, targets i32, all of one shape.
class LossSum final : public Op {
 public:
  std::string_view kind() const override { return "loss_sum"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  /// @throws Error "graph.loss_sum.gradient" when the statistics are not those of one head_loss_stats, the sum after
  /// softmax_rescale.
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override { return {"*,*,*,* -> +."}; }
  Cost cost(std::span<TensorSpec const> in) const override;
  bool accumulates(int) const override { return true; }
};

/// Gradient of the summed token losses: inputs x, w, [bias], targets, max, sum (of the whole vocabulary); outputs dx
/// `dtype`, dw_VD f32 (+), [dbias_V f32 (+)], or dx and dlogits with `split`. Recomputes the logits piece by piece.
class HeadLossGrad final : public Op {
 public:
  explicit HeadLossGrad(HeadAttrs attrs) : attrs_(attrs) {}
  HeadAttrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "head_loss_grad"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool accumulates(int output) const override { return output > 0 && !attrs_.split; }
  bool is_weight(int input) const override { return input == 1; }

 private:
  HeadAttrs attrs_;
};

/// head_loss_stats, softmax_rescale, loss_sum and head_loss_grad in one, so that the logits are computed once. Inputs
/// x, w, [bias], targets; outputs loss f64[2] (+), dx `dtype`, dw_VD f32 (+), [dbias_V f32 (+)], or loss, dx and
/// dlogits with `split`. Made by fusion.
class HeadLoss final : public Op {
 public:
  explicit HeadLoss(HeadAttrs attrs) : attrs_(attrs) {}
  HeadAttrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "head_loss"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  bool accumulates(int output) const override { return output == 0 || (output > 1 && !attrs_.split); }
  bool is_weight(int input) const override { return input == 1; }

 private:
  HeadAttrs attrs_;
};

}  // namespace lamina::graph
