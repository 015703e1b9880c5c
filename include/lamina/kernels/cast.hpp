#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = x in the dtype of y; f32 -> bf16 rounds to nearest, ties to even, and keeps NaN.
struct CastArgs {
  TensorRef x;  ///< any shape, f32 or bf16
  TensorRef y;  ///< same shape, f32 or bf16, overwritten
};

/// @throws Error "kernels.cast.<shape|dtype>".
void cast(device::Stream& stream, CastArgs const& a);
void cast_reference(CastArgs const& a);

}  // namespace lamina::kernels
