#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

struct ActivationArgs {
  TensorRef z;  ///< any shape, f32 or bf16
  TensorRef y;  ///< like z, overwritten; may be z
};

struct ActivationGradArgs {
  TensorRef dy;  ///< any shape, f32 or bf16
  TensorRef z;   ///< like dy: the input of the forward pass
  TensorRef dz;  ///< like dy, overwritten; may be dy
};

/// y = z / (1 + exp(-2 u)), u = sqrt(2 / pi) (z + 0.044715 z^3): the tanh form of GELU (Hendrycks and Gimpel,
/// "Gaussian error linear units", 2016), written with one exp and without cancellation for negative z.
/// @throws Error "kernels.gelu.<shape|dtype>".
void gelu(device::Stream& stream, ActivationArgs const& a);
void gelu_reference(ActivationArgs const& a);

/// dz = dy * dy/dz of the tanh form of GELU.
/// @throws Error "kernels.gelu_grad.<shape|dtype>".
void gelu_grad(device::Stream& stream, ActivationGradArgs const& a);
void gelu_grad_reference(ActivationGradArgs const& a);

/// y = max(z, 0).
/// @throws Error "kernels.relu.<shape|dtype>".
void relu(device::Stream& stream, ActivationArgs const& a);
void relu_reference(ActivationArgs const& a);

/// dz = z > 0 ? dy : 0.
/// @throws Error "kernels.relu_grad.<shape|dtype>".
void relu_grad(device::Stream& stream, ActivationGradArgs const& a);
void relu_grad_reference(ActivationGradArgs const& a);

}  // namespace lamina::kernels
