#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

enum class Activation { gelu, relu };

/// z = x w^T + bias, y = activation(z). Dims as in `LinearArgs`.
struct LinearGeluArgs {
  TensorRef x;        ///< [M dims, K dims] f32 or bf16
  TensorRef w;        ///< [N dims, K dims] f32 or bf16; or u8: what pack_weight made with use "forward"
  TensorRef bias;     ///< [N dims] f32, or absent
  TensorRef z;        ///< [M dims, N dims] like x: before the activation, kept for the backward
  TensorRef y;        ///< [M dims, N dims] like x
  TensorRef scratch;  ///< u8, as planned for the op
  int rows_dims = 2;
  Activation activation = Activation::gelu;
};

/// GELU in the tanh form, computed in f32 from z as it is stored (rounded, when it is bf16), so that the backward
/// differentiates exactly the function that was computed.
/// @throws Error "kernels.linear_gelu.<shape|dtype|scratch>".
void linear_gelu(device::Stream& stream, LinearGeluArgs const& a);
void linear_gelu_reference(LinearGeluArgs const& a);

}  // namespace lamina::kernels
