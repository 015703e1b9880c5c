#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// AdamW with decoupled decay (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019), as
/// torch.optim.AdamW computes it: g' = scale * g; p -= lr * weight_decay * p; m += (1 - beta1) (g' - m);
/// v = beta2 v + (1 - beta2) g'^2; p -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps).
struct AdamWArgs {
  TensorRef g;      ///< any shape, f32 or f64
  TensorRef p;      ///< f32 like g, updated
  TensorRef m;      ///< like g, updated
  TensorRef v;      ///< like g, updated
  TensorRef hyper;  ///< [4] f64 = {lr, step number from 1, gradient scale, 1 to skip the update}
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};

/// One pass over p, g, m and v: 28 bytes an element. Bias corrections in f64. A skipped update touches nothing.
/// @throws Error "kernels.adamw.<shape|dtype>".
void adamw(device::Stream& stream, AdamWArgs const& a);
void adamw_reference(AdamWArgs const& a);

}  // namespace lamina::kernels
