#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = x w^T + bias: a matrix product over all trailing dims of x. Shapes are flattened to rows M, output features N
/// and input features K: M = the first `rows_dims` dims of x, K = the others, N = what y has after `rows_dims` dims.
struct LinearArgs {
  TensorRef x;        ///< [M dims, K dims] f32 or bf16: decides the precision of the product
  TensorRef w;        ///< [N dims, K dims] f32 or bf16; or u8: what pack_weight made with use "forward"
  TensorRef bias;     ///< [N dims] f32, or absent
  TensorRef y;        ///< [M dims, N dims] f32 or bf16, overwritten
  TensorRef scratch;  ///< u8, as planned for the op
  int rows_dims = 2;
};

/// Sums in f32. f32 operands give strict f32 (no TF32, no bf16 splitting); bf16 x with f32 w rounds w to bf16 first.
/// Determinism: the same bits for the same shapes, whatever the number of threads; where oneDNN computes (bf16 on AMX,
/// or no AVX-512), for one number of threads.
/// @throws Error "kernels.linear.shape", "kernels.linear.dtype", "kernels.linear.scratch".
void linear(device::Stream& stream, LinearArgs const& a);

/// The same by plain loops; never with a packed w.
void linear_reference(LinearArgs const& a);

}  // namespace lamina::kernels
