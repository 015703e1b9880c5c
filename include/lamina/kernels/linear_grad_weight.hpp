#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// dw (+)= dy^T x and dbias (+)= column sums of dy: the gradients of `linear` with respect to its parameters.
/// Dims as in `LinearArgs`.
struct LinearGradWeightArgs {
  TensorRef dy;       ///< [M dims, N dims] f32 or bf16
  TensorRef x;        ///< [M dims, K dims] like dy
  TensorRef dw;       ///< [N dims, K dims] f32
  TensorRef dbias;    ///< [N dims] f32, or absent
  TensorRef scratch;  ///< u8, as planned for the op
  int rows_dims = 2;
  int accumulate = 0;  ///< bit 0: add to dw, bit 1: add to dbias; a clear bit overwrites
};

/// Sums in f32. @throws Error "kernels.linear_grad_weight.<shape|dtype|scratch>".
void linear_grad_weight(device::Stream& stream, LinearGradWeightArgs const& a);
void linear_grad_weight_reference(LinearGradWeightArgs const& a);

}  // namespace lamina::kernels
