#pragma once

#include <span>

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// norm (+)= {sum of squares over all tensors, number of elements that are not finite}; the sum leaves those out.
struct SquareNormArgs {
  std::span<TensorRef const> g;  ///< any number of tensors of any shape, f32
  TensorRef norm;                ///< [2] f64
  int accumulate = 0;            ///< bit 0: add to norm; clear: overwrite
};

/// Squares and sums in f64, tensor after tensor, each in pieces that depend on its size alone: the bits depend neither
/// on the number of threads nor on how the list is cut into calls that accumulate. @throws Error
/// "kernels.square_norm.<shape|dtype>".
void square_norm(device::Stream& stream, SquareNormArgs const& a);
void square_norm_reference(SquareNormArgs const& a);

}  // namespace lamina::kernels
