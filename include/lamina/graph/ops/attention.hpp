#pragma once

#include "lamina/graph/op.hpp"

namespace lamina::graph {

struct AttentionAttrs {
  bool causal = true;
  double p = 0;                 // dropout of the probabilities, in [0, 1)
  std::uint32_t operation = 0;  // of that dropout: operation_id of path and name
};

/// Multi-head attention (Vaswani et al., 2017): y_tnh = sum_s softmax_s(q_tn . k_sn / sqrt(H)) v_snh, s <= t if causal.
/// Inputs qkv_BT3NH f32 or bf16, [rng i64[3]] when p > 0; outputs y_BTNH like qkv, lse_BNT f32 = log-sum-exp of the
/// scaled scores, for the backward (Dao et al., "FlashAttention", 2022). Sums and softmax in f32. Dropout counts its
/// elements in [B, N, T, T] of the step's global batch.
/// Scratch: 4 * threads * (256 * H16 + 8448) bytes, H16 = H rounded up to 16.
class Attention final : public Op {
 public:
  explicit Attention(AttentionAttrs attrs);
  AttentionAttrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "attention"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  void differentiate(GradBuilder& g) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;

 private:
  AttentionAttrs attrs_;
};

/// Gradient of `attention`; recomputes the scores from lse. Inputs dy_BTNH, qkv_BT3NH, y_BTNH (one dtype), lse_BNT f32,
/// [rng]; output dqkv_BT3NH like qkv.
/// Scratch: 4 * threads * (4 * T64 * H16 + 320 * H16 + 12544) bytes, T64 = T rounded up to 64.
class AttentionGrad final : public Op {
 public:
  explicit AttentionGrad(AttentionAttrs attrs);
  AttentionAttrs const& attrs() const { return attrs_; }

  std::string_view kind() const override { return "attention_grad"; }
  Attributes attributes() const override;
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override;
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;

 private:
  AttentionAttrs attrs_;
};

/// Attention of T new tokens over a cache: writes their keys and values at entries position .. position + T - 1, then
/// token t attends to entries <= position + t. Inputs qkv_BT3NH, cache_k_BNPH, cache_v_BNPH (one dtype), position
/// i32[1]; outputs y_BTNH, cache_k, cache_v (in place). Generation only: no gradient, no dropout.
/// Scratch: as `attention`.
class AttentionCached final : public Op {
 public:
  std::string_view kind() const override { return "attention_cached"; }
  Attributes attributes() const override { return {{"causal", std::int64_t{1}}}; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override;
  ShardRule shard_rule() const override { return {"bt!q!nh!,bnp!h,bnph,. -> btnh,bnph,bnph"}; }
  /// Counted over the whole cache, the most that a call can be.
  Cost cost(std::span<TensorSpec const> in) const override;
  std::int64_t scratch_bytes(std::span<TensorSpec const> in, int threads) const override;
  int overwrites(int output) const override { return output == 0 ? -1 : output; }
};

}  // namespace lamina::graph
