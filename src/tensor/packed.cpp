#include "lamina/tensor/packed.hpp"

namespace lamina {

std::int64_t packed_weight_bytes(std::int64_t n, std::int64_t k, DType dtype) {
  auto const up = [](std::int64_t x) { return (x + 63) / 64 * 64; };
  return up(n) * up(k) * sizeof_dtype(dtype) + 4096;
}

}  // namespace lamina
