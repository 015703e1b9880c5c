#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = max(z, 0).
struct ReluArgs {
  TensorRef z;  ///< any shape, f32 or bf16
  TensorRef y;  ///< like z, overwritten; may be z
};

/// @throws Error "kernels.relu.<shape|dtype>".
void relu(device::Stream& stream, ReluArgs const& a);
void relu_reference(ReluArgs const& a);

/// dz = z > 0 ? dy : 0.
struct ReluGradArgs {
  TensorRef dy;  ///< any shape, f32 or bf16
  TensorRef z;   ///< like dy: the input of the forward pass
  TensorRef dz;  ///< like dy, overwritten; may be dy
};

/// @throws Error "kernels.relu_grad.<shape|dtype>".
void relu_grad(device::Stream& stream, ReluGradArgs const& a);
void relu_grad_reference(ReluGradArgs const& a);

}  // namespace lamina::kernels
