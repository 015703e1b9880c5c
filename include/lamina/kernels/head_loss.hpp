#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/kernels/vocab_part.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// Softmax cross-entropy of the logits x w^T + bias, with its gradients, without ever holding all logits.
/// R rows (all leading dims of x), D model, V vocabulary.
struct HeadLossArgs {
  TensorRef x;             ///< [R dims, D] f32 or bf16: decides the precision of the products
  TensorRef w;             ///< [V, D] f32 or bf16
  TensorRef bias;          ///< [V] f32, or absent
  TensorRef targets;       ///< [R dims] i32; negative: ignored, no loss and no gradient
  TensorRef loss;          ///< f64 [2] = {sum of token losses, number of targets}
  TensorRef dx;            ///< [R dims, D] f32 or bf16, overwritten
  TensorRef dlogits = {};  ///< [R dims, V] like x, overwritten; in place of dw and dbias
  TensorRef dw;            ///< [V, D] f32
  TensorRef dbias;         ///< [V] f32, present iff bias and dw are
  TensorRef scratch;       ///< u8, as planned for the op
  int accumulate = 0;      ///< bit 0: add to loss, bit 2: add to dw, bit 3: add to dbias; clear bits overwrite
};

/// The gradient is that of the *sum* of the token losses. Rows are taken in chunks whose logits and their gradient
/// share one piece of scratch; logits are computed once (Hsu et al., "Liger kernel: efficient Triton kernels for LLM
/// training", 2024). Statistics in f32, the loss sum in f64 in row order.
/// Determinism: with our own product (f32 everywhere with AVX-512, bf16 without AMX) the same bits for every number of
/// threads; with oneDNN's the same bits for one number of threads.
/// @throws Error "kernels.head_loss.<shape|dtype|scratch|target>" (a target >= V).
void head_loss(device::Stream& stream, HeadLossArgs const& a);
void head_loss_reference(HeadLossArgs const& a);

/// Per row: the maximum logit, the sum of exp(logit - max) and the target's logit (0 when ignored). Of a part of the
/// vocabulary: all three over its words, the target's logit 0 when it is not among them; without any word -inf, 0 and
/// 0.
struct HeadLossStatsArgs {
  TensorRef x;        ///< [R dims, D] f32 or bf16
  TensorRef w;        ///< [V, D] f32 or bf16, or the rows of `part`
  TensorRef bias;     ///< [V] f32 like the rows of w, or absent
  TensorRef targets;  ///< [R dims] i32
  TensorRef max;      ///< [R dims] f32
  TensorRef sum;      ///< [R dims] f32
  TensorRef target;   ///< [R dims] f32
  TensorRef scratch;  ///< u8, as planned for the op
  VocabPart part = {};
};

/// @throws Error "kernels.head_loss_stats.<shape|dtype|scratch|target>".
void head_loss_stats(device::Stream& stream, HeadLossStatsArgs const& a);
void head_loss_stats_reference(HeadLossStatsArgs const& a);

/// The gradients, from the statistics of the whole vocabulary; recomputes the logits chunk by chunk. Of a part of the
/// vocabulary: the term of its words in dx, and the rows of dw and dbias that are here.
struct HeadLossGradArgs {
  TensorRef x;             ///< [R dims, D] f32 or bf16
  TensorRef w;             ///< [V, D] f32 or bf16, or the rows of `part`
  TensorRef bias;          ///< [V] f32 like the rows of w, or absent
  TensorRef targets;       ///< [R dims] i32
  TensorRef max;           ///< [R dims] f32
  TensorRef sum;           ///< [R dims] f32
  TensorRef dx;            ///< [R dims, D] f32 or bf16, overwritten
  TensorRef dlogits = {};  ///< [R dims, rows of w] like x, overwritten, 0 in padding; in place of dw and dbias
  TensorRef dw;            ///< like w, f32
  TensorRef dbias;         ///< [V] f32, present iff bias and dw are
  TensorRef scratch;       ///< u8, as planned for the op
  int accumulate = 0;      ///< bit 1: add to dw, bit 2: add to dbias; clear bits overwrite
  VocabPart part = {};
};

/// @throws Error "kernels.head_loss_grad.<shape|dtype|scratch|target>".
void head_loss_grad(device::Stream& stream, HeadLossGradArgs const& a);
void head_loss_grad_reference(HeadLossGradArgs const& a);

}  // namespace lamina::kernels
