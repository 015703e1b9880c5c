#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// loss (+)= {sum over counted samples of mean((x - y)^2), number of counted samples}, in f64, in order.
struct MseArgs {
  TensorRef x;         ///< [B, N dims] f32: outputs
  TensorRef y;         ///< like x: what they should be
  TensorRef counted;   ///< [B] i32; negative: ignored
  TensorRef loss;      ///< [2] f64
  int accumulate = 0;  ///< bit 0: add to loss; clear: overwrite
};

/// dx = 2 (x - y) / N, 0 in ignored samples.
struct MseGradArgs {
  TensorRef x;        ///< [B, N dims] f32
  TensorRef y;        ///< like x
  TensorRef counted;  ///< [B] i32
  TensorRef dx;       ///< like x
};

/// @throws Error "kernels.<op>.<shape|dtype>".
void mse(device::Stream& stream, MseArgs const& a);
void mse_grad(device::Stream& stream, MseGradArgs const& a);
void mse_reference(MseArgs const& a);
void mse_grad_reference(MseGradArgs const& a);

}  // namespace lamina::kernels
