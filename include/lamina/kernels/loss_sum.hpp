#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// loss (+)= {sum over counted rows of max + log(sum) - target, number of counted rows}, in f64, in row order.
struct LossSumArgs {
  TensorRef max;       ///< [R dims] f32: largest logit
  TensorRef sum;       ///< [R dims] f32: sum of exp(logit - max)
  TensorRef target;    ///< [R dims] f32: the target's logit
  TensorRef targets;   ///< [R dims] i32; negative: ignored
  TensorRef loss;      ///< [2] f64
  int accumulate = 0;  ///< bit 0: add to loss; clear: overwrite
};

/// @throws Error "kernels.loss_sum.<shape|dtype>".
void loss_sum(device::Stream& stream, LossSumArgs const& a);
void loss_sum_reference(LossSumArgs const& a);

}  // namespace lamina::kernels
