#pragma once

#include <cstdint>

#include "lamina/tensor/dtype.hpp"

namespace lamina {

/// Bytes planned for a weight matrix of `n` output and `k` input features (both flattened) re-packed for a
/// matrix product: both dims rounded up to 64, plus 4 KiB for a library's own header. The kernel checks at
/// bind time that the library's layout fits, so planning needs no library.
std::int64_t packed_weight_bytes(std::int64_t n, std::int64_t k, DType dtype);

}  // namespace lamina
