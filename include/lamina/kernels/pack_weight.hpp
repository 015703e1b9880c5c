#pragma once

#include <cstdint>

#include "lamina/device/stream.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::kernels {

/// Which product a packed weight is for: the layouts differ.
enum class PackUse { forward, backward };  // linear and linear_gelu; linear_grad_input

/// Whether products with operands of this type want such copies on this CPU: libraries do, our own reads weights where
/// they lie. For plan::Machine. Needs no Runtime.
bool wants_packed_weights(DType compute);

/// Copies a weight matrix into the layout that the matrix product of this machine and library likes best.
struct PackWeightArgs {
  TensorRef w;        ///< [n, k] after flattening, f32 or bf16
  TensorRef packed;   ///< u8 of at least packed_weight_bytes(n, k, dtype)
  TensorRef scratch;  ///< u8, as planned for the op
  std::int64_t n = 0, k = 0;
  std::int64_t rows = 0;     ///< rows of the product it will be used with
  DType dtype = DType::f32;  ///< of the product: f32 or bf16
  PackUse use = PackUse::forward;
};

/// The bytes mean nothing to another process: never stored, never sent.
/// @throws Error "kernels.pack_weight.<shape|dtype|fit>".
void pack_weight(device::Stream& stream, PackWeightArgs const& a);

}  // namespace lamina::kernels
