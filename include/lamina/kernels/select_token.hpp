#pragma once

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// y[b] = x[b, last]: the hidden state that predicts the next token after a prefill.
struct SelectTokenArgs {
  TensorRef x;     ///< [B, T, D] any dtype
  TensorRef last;  ///< [1] i32, in [0, T)
  TensorRef y;     ///< [B, D] like x, overwritten
};

/// @throws Error "kernels.select_token.<shape|dtype|last>".
void select_token(device::Stream& stream, SelectTokenArgs const& a);
void select_token_reference(SelectTokenArgs const& a);

}  // namespace lamina::kernels
