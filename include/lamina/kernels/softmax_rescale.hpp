#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y = sum * exp(own_max - max): sums of exp(logit - own_max) relative to another maximum (Milakov and Gimelshein,
/// 2018).
struct SoftmaxRescaleArgs {
  TensorRef sum;      ///< any shape, f32
  TensorRef own_max;  ///< like sum: -inf where there were no logits (then sum is 0, and so is y)
  TensorRef max;      ///< like sum, at least own_max; may be own_max: then y is sum, bit by bit
  TensorRef y;        ///< like sum, overwritten; may be sum
};

/// @throws Error "kernels.softmax_rescale.<shape|dtype>".
void softmax_rescale(device::Stream& stream, SoftmaxRescaleArgs const& a);
void softmax_rescale_reference(SoftmaxRescaleArgs const& a);

}  // namespace lamina::kernels
