#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = (x - mean) * rstd * scale + shift over the last dim D; R = all leading dims of x.
struct LayerNormArgs {
  TensorRef x;      ///< [R dims, D] f32
  TensorRef scale;  ///< [D] f32
  TensorRef shift;  ///< [D] f32
  TensorRef y;      ///< [R dims, D] f32 or bf16, overwritten
  TensorRef mean;   ///< [R dims] f32, overwritten
  TensorRef rstd;   ///< [R dims] f32 = 1 / sqrt(variance + eps), overwritten
  double eps = 1e-5;
};

/// Two passes over each row, sums in f32. @throws Error "kernels.layer_norm.<shape|dtype>".
void layer_norm(device::Stream& stream, LayerNormArgs const& a);
void layer_norm_reference(LayerNormArgs const& a);

/// r = a + b, then layer norm of r.
struct AddLayerNormArgs {
  TensorRef a;      ///< [R dims, D] f32
  TensorRef b;      ///< [R dims, D] f32 or bf16
  TensorRef scale;  ///< [D] f32
  TensorRef shift;  ///< [D] f32
  TensorRef r;      ///< [R dims, D] f32, overwritten; may be a
  TensorRef y;      ///< [R dims, D] f32 or bf16, overwritten
  TensorRef mean;   ///< [R dims] f32, overwritten
  TensorRef rstd;   ///< [R dims] f32, overwritten
  double eps = 1e-5;
};

/// @throws Error "kernels.add_layer_norm.<shape|dtype>".
void add_layer_norm(device::Stream& stream, AddLayerNormArgs const& a);
void add_layer_norm_reference(AddLayerNormArgs const& a);

/// dx = rstd * (g - mean_D(g) - xhat * mean_D(g * xhat)) + residual with g = dy * scale, xhat = (x - mean) * rstd;
/// dscale (+)= sum over rows of dy * xhat; dshift (+)= sum over rows of dy.
struct LayerNormGradArgs {
  TensorRef dy;        ///< [R dims, D] f32 or bf16
  TensorRef x;         ///< [R dims, D] f32
  TensorRef scale;     ///< [D] f32
  TensorRef mean;      ///< [R dims] f32
  TensorRef rstd;      ///< [R dims] f32
  TensorRef residual;  ///< [R dims, D] f32, or absent
  TensorRef dx;        ///< [R dims, D] f32, overwritten; may be residual
  TensorRef dscale;    ///< [D] f32
  TensorRef dshift;    ///< [D] f32
  TensorRef scratch;   ///< u8, as planned for the op: partial sums of row blocks
  int accumulate = 0;  ///< bit 1: add to dscale, bit 2: add to dshift; a clear bit overwrites
};

/// One pass. Rows are summed in blocks whose number depends on R alone, so the bits do not depend on the number of
/// threads. @throws Error "kernels.layer_norm_grad.<shape|dtype|scratch>".
void layer_norm_grad(device::Stream& stream, LayerNormGradArgs const& a);
void layer_norm_grad_reference(LayerNormGradArgs const& a);

}  // namespace lamina::kernels
