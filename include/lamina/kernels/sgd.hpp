#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// torch.optim.SGD: g' = scale * g + weight_decay * p; m = momentum * m + g' (m = g' in step 1, where m need not be
/// set); p -= lr * m. With momentum 0, p -= lr * g' and m may be absent.
struct SgdArgs {
  TensorRef g;      ///< any shape, f32 or f64
  TensorRef p;      ///< f32 like g, updated
  TensorRef m;      ///< like g, updated; or absent when momentum is 0
  TensorRef hyper;  ///< [4] f64 = {lr, step number from 1, gradient scale, 1 to skip the update}
  double momentum = 0, weight_decay = 0;
};

/// A skipped update touches nothing. @throws Error "kernels.sgd.<shape|dtype>".
void sgd(device::Stream& stream, SgdArgs const& a);
void sgd_reference(SgdArgs const& a);

}  // namespace lamina::kernels
