#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = z / (1 + exp(-2 u)), u = sqrt(2 / pi) (z + 0.044715 z^3): the tanh form of GELU (Hendrycks and Gimpel,
/// "Gaussian error linear units", 2016), written with one exp and without cancellation for negative z.
struct GeluArgs {
  TensorRef z;  ///< any shape, f32 or bf16
  TensorRef y;  ///< like z, overwritten; may be z
};

/// @throws Error "kernels.gelu.<shape|dtype>".
void gelu(device::Stream& stream, GeluArgs const& a);
void gelu_reference(GeluArgs const& a);

/// dz = dy * dy/dz of the tanh form of GELU.
struct GeluGradArgs {
  TensorRef dy;  ///< any shape, f32 or bf16
  TensorRef z;   ///< like dy: the input of the forward pass
  TensorRef dz;  ///< like dy, overwritten; may be dy
};

/// @throws Error "kernels.gelu_grad.<shape|dtype>".
void gelu_grad(device::Stream& stream, GeluGradArgs const& a);
void gelu_grad_reference(GeluGradArgs const& a);

}  // namespace lamina::kernels
