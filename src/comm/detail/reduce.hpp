#pragma once

#include <cstdint>
#include <span>

#include "lamina/comm/communicator.hpp"
#include "lamina/tensor/dtype.hpp"

namespace lamina::comm::detail {

/// Whether `combine` can do it: f32, bf16, f64, i64; `mean` not for i64.
bool can_combine(DType dtype, Reduce op);

/// to[i] = parts[0][i] op parts[1][i] op ..., from left to right; bf16 in f32, rounded once. `mean` divides by the
/// number of parts. `to` may be one of the parts. NaN wins a maximum. Needs at least one part.
void combine(DType dtype, Reduce op, void* to, std::span<void const* const> parts, std::int64_t count);

}  // namespace lamina::comm::detail
