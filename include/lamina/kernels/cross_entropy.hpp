#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// loss (+)= {sum over counted rows of log(sum exp(x)) - x_target, number of counted rows}, in f64, in row order.
struct CrossEntropyArgs {
  TensorRef x;         ///< [R dims, C] f32: logits
  TensorRef targets;   ///< [R dims] i32 in [0, C); negative: ignored
  TensorRef loss;      ///< [2] f64
  int accumulate = 0;  ///< bit 0: add to loss; clear: overwrite
};

/// dx = softmax(x) - onehot(target), 0 in ignored rows.
struct CrossEntropyGradArgs {
  TensorRef x;        ///< [R dims, C] f32
  TensorRef targets;  ///< [R dims] i32
  TensorRef dx;       ///< like x
};

/// hits (+)= {counted rows whose first largest logit is the target's, number of counted rows}; a NaN is never a hit.
struct AccuracyArgs {
  TensorRef x;         ///< [R dims, C] f32
  TensorRef targets;   ///< [R dims] i32
  TensorRef hits;      ///< [2] f64
  int accumulate = 0;  ///< bit 0
};

/// @throws Error "kernels.<op>.<shape|dtype>", "kernels.<op>.target" for a class that the model does not have.
void cross_entropy(device::Stream& stream, CrossEntropyArgs const& a);
void cross_entropy_grad(device::Stream& stream, CrossEntropyGradArgs const& a);
void accuracy(device::Stream& stream, AccuracyArgs const& a);
void cross_entropy_reference(CrossEntropyArgs const& a);
void cross_entropy_grad_reference(CrossEntropyGradArgs const& a);
void accuracy_reference(AccuracyArgs const& a);

}  // namespace lamina::kernels
