#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/kernels/vocab_part.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// x[b, t] = table[ids[b, t]] + positions[position + t]. V vocabulary, D model, P context; R = B * T rows. Of a part of
/// the vocabulary: words that are not in it count as rows of zeros.
struct EmbeddingArgs {
  TensorRef table;      ///< [V, D] f32, or the rows of `part`
  TensorRef ids;        ///< [B, T] i32, each in [0, V)
  TensorRef positions;  ///< [P, D] f32, or absent
  TensorRef position;   ///< [1] i32: tokens already in the cache, or absent for 0
  TensorRef x;          ///< [B, T, D] f32, overwritten
  VocabPart part = {};
};

/// @throws Error "kernels.embedding.<shape|dtype|id|position>"; `id` names the first token outside of the vocabulary.
void embedding(device::Stream& stream, EmbeddingArgs const& a);
void embedding_reference(EmbeddingArgs const& a);

/// dtable[ids[b, t]] (+)= dx[b, t]; dpositions[t] (+)= sum over b of dx[b, t]. Of a part of the vocabulary: words that
/// are not in it are left out, the rows of its padding get 0.
struct EmbeddingGradArgs {
  TensorRef dx;          ///< [B, T, D] f32
  TensorRef ids;         ///< [B, T] i32
  TensorRef dtable;      ///< [V, D] f32, or the rows of `part`
  TensorRef dpositions;  ///< [P, D] f32, P >= T, or absent
  int accumulate = 0;    ///< bit 0: add to dtable, bit 1: add to dpositions; a clear bit overwrites (all rows)
  VocabPart part = {};
};

/// No atomics: each thread owns a range of model columns and walks the tokens in order, so the bits do not depend on
/// the number of threads. @throws Error "kernels.embedding_grad.<shape|dtype|id>".
void embedding_grad(device::Stream& stream, EmbeddingGradArgs const& a);
void embedding_grad_reference(EmbeddingGradArgs const& a);

}  // namespace lamina::kernels
