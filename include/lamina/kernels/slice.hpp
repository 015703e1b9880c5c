#pragma once

#include <cstdint>

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = x[..., first : first + extent of y, ...] in dim `dim`.
struct SliceArgs {
  TensorRef x;  ///< any shape and dtype
  TensorRef y;  ///< like x but for dim `dim`, overwritten
  int dim = 0;
  std::int64_t first = 0;
};

/// @throws Error "kernels.slice.<shape|dtype>" (also for a part that is not inside of x).
void slice(device::Stream& stream, SliceArgs const& a);
void slice_reference(SliceArgs const& a);

}  // namespace lamina::kernels
