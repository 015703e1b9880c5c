#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = a + b. Exact sums: all three f64.
struct AddArgs {
  TensorRef a;  ///< any shape, f32
  TensorRef b;  ///< same shape, f32 or bf16
  TensorRef y;  ///< same shape, f32, overwritten; may be a or b
};

/// @throws Error "kernels.add.<shape|dtype>".
void add(device::Stream& stream, AddArgs const& a);
void add_reference(AddArgs const& a);

}  // namespace lamina::kernels
