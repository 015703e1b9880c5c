#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// Every element = value.
struct FillArgs {
  TensorRef y;  ///< any shape, f32, bf16, f64, i32 or i64, overwritten
  double value = 0;
};

/// @throws Error "kernels.fill.dtype".
void fill(device::Stream& stream, FillArgs const& a);
void fill_reference(FillArgs const& a);

/// All bytes 0; any dtype.
struct ZeroArgs {
  TensorRef y;
};

void zero(device::Stream& stream, ZeroArgs const& a);
void zero_reference(ZeroArgs const& a);

}  // namespace lamina::kernels
