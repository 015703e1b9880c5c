#pragma once

#include <cstdint>

#include "lamina/tensor/tensor.hpp"
#include "simd.hpp"

namespace lamina::kernels::detail {

/// The random tensor of one dropout: which elements it keeps, as the factor they are multiplied with.
struct DropoutMask {
  std::uint64_t seed;
  std::uint32_t step, operation;
  float p, kept;
  std::uint64_t first_sample;

  /// @param rng  i64 [3] = {seed, step, first global sample of this replica in the step}
  DropoutMask(TensorRef const& rng, double probability, std::uint32_t op, std::int64_t sample);

  /// out[i] = 0 or 1 / (1 - p) for elements first .. first + count - 1.
  void factors(std::uint64_t first, std::int64_t count, float* out) const;
};

}  // namespace lamina::kernels::detail
