#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// dx = dy w: the gradient of `linear` with respect to its input. Dims as in `LinearArgs`.
struct LinearGradInputArgs {
  TensorRef dy;       ///< [M dims, N dims] f32 or bf16: decides the precision of the product
  TensorRef w;        ///< [N dims, K dims] f32 or bf16; or u8: what pack_weight made with use "backward"
  TensorRef dx;       ///< [M dims, K dims] f32 or bf16, overwritten
  TensorRef scratch;  ///< u8, as planned for the op
  int rows_dims = 2;
};

/// Sums in f32. @throws Error "kernels.linear_grad_input.<shape|dtype|scratch>".
void linear_grad_input(device::Stream& stream, LinearGradInputArgs const& a);
void linear_grad_input_reference(LinearGradInputArgs const& a);

}  // namespace lamina::kernels
