#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = x in the dtype of y; f32 -> bf16 rounds to nearest, ties to even, and keeps NaN; f64 -> bf16 by way of f32.
struct CastArgs {
  TensorRef x;  ///< any shape, f32, bf16 or f64
  TensorRef y;  ///< same shape, f32 or bf16, overwritten
};

/// @throws Error "kernels.cast.<shape|dtype>".
void cast(device::Stream& stream, CastArgs const& a);
void cast_reference(CastArgs const& a);

}  // namespace lamina::kernels
