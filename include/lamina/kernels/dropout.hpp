#pragma once

#include <cstdint>

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = keep ? x / (1 - p) : 0. An element is kept when its Philox number is >= p. The number belongs to the element
/// of the step's *global* batch: seed and step from `rng`, and the element's index counted with the first dim of x
/// starting at rng[2] + sample, and with dim `split_dim` of `extent` starting at `first`. So the mask does not depend
/// on how the batch, or its tokens, are split. The gradient is the same function applied to dy.
struct DropoutArgs {
  TensorRef x;    ///< [B, ...] f32 or bf16
  TensorRef rng;  ///< [3] i64 = {seed, step, first global sample of this replica in the step}
  TensorRef y;    ///< like x; may be x
  double p = 0;   ///< in [0, 1)
  std::uint32_t operation = 0;
  std::int64_t sample = 0;  ///< index of the micro-batch's first sample in the replica
  int split_dim = 0;        ///< dim of x, not the first, of which x is a part; 0: none
  std::int64_t first = 0;   ///< of that dim: where the part begins
  std::int64_t extent = 0;  ///< of that dim: how long the whole is
};

/// @throws Error "kernels.dropout.<shape|dtype|p>".
void dropout(device::Stream& stream, DropoutArgs const& a);
void dropout_reference(DropoutArgs const& a);

}  // namespace lamina::kernels
