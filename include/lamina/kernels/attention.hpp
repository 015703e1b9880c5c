#pragma once

#include <cstdint>

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// The heads that a rank holds when they are cut over ranks: head n here is head `first` + n of `count`. Only dropout
/// asks for it.
struct HeadPart {
  std::int64_t first = 0;
  std::int64_t count = 0;  ///< 0: all heads are here
};

/// y = dropout(softmax(q k^T / sqrt(H))) v per sample and head. B batch, T tokens, N heads, H head size.
struct AttentionArgs {
  TensorRef qkv;      ///< [B, T, 3, N, H] f32 or bf16
  TensorRef rng;      ///< [3] i64 as for dropout; used when p > 0, else may be absent
  TensorRef y;        ///< [B, T, N, H] like qkv, overwritten
  TensorRef lse;      ///< [B, N, T] f32, overwritten: log of the sum of exp(score) over the keys a token sees
  TensorRef scratch;  ///< u8, as planned for the op
  bool causal = true;
  double p = 0;  ///< dropout of the probabilities, in [0, 1); mask elements are those of the global [B, N, T, T]
  std::uint32_t operation = 0;
  std::int64_t sample = 0;  ///< index of the micro-batch's first sample in the replica
  HeadPart heads = {};
};

/// Blocked with an online softmax (Dao et al., "FlashAttention", 2022): scores are never stored. Sums in f32.
/// Determinism: the bits do not depend on the number of threads.
/// @throws Error "kernels.attention.<shape|dtype|scratch|p>".
void attention(device::Stream& stream, AttentionArgs const& a);
void attention_reference(AttentionArgs const& a);

/// The gradient; scores are recomputed from qkv and lse.
struct AttentionGradArgs {
  TensorRef dy;       ///< [B, T, N, H] f32 or bf16
  TensorRef qkv;      ///< [B, T, 3, N, H] like dy
  TensorRef y;        ///< [B, T, N, H] like dy
  TensorRef lse;      ///< [B, N, T] f32
  TensorRef rng;      ///< as in the forward pass
  TensorRef dqkv;     ///< [B, T, 3, N, H] like dy, overwritten
  TensorRef scratch;  ///< u8, as planned for the op
  bool causal = true;
  double p = 0;
  std::uint32_t operation = 0;
  std::int64_t sample = 0;
  HeadPart heads = {};
};

/// Parallel over samples and heads; the bits do not depend on the number of threads.
/// @throws Error "kernels.attention_grad.<shape|dtype|scratch|p>".
void attention_grad(device::Stream& stream, AttentionGradArgs const& a);
void attention_grad_reference(AttentionGradArgs const& a);

/// Attention of T new tokens over a key/value cache, for prefill and decoding. Writes their keys and values into the
/// cache at `position`; token t then sees the entries <= position + t (causal) or all < position + T.
struct AttentionCachedArgs {
  TensorRef qkv;       ///< [B, T, 3, N, H] f32 or bf16
  TensorRef cache_k;   ///< [B, N, P, H] like qkv, entries position .. position + T - 1 overwritten
  TensorRef cache_v;   ///< [B, N, P, H] like qkv, likewise
  TensorRef position;  ///< [1] i32: entries already in the cache
  TensorRef y;         ///< [B, T, N, H] like qkv, overwritten
  TensorRef scratch;   ///< u8, as planned for the op
  bool causal = true;
};

/// @throws Error "kernels.attention_cached.<shape|dtype|scratch|position>" (position + T > P).
void attention_cached(device::Stream& stream, AttentionCachedArgs const& a);
void attention_cached_reference(AttentionCachedArgs const& a);

}  // namespace lamina::kernels
