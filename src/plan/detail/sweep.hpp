#pragma once

#include <cstdint>
#include <span>

#include "plan/detail/memory.hpp"

namespace lamina::plan {

/// Offsets for many lifetimes, sorted by `first`, of aligned sizes: in the order of time, long ones from below into the
/// smallest hole that holds them, short ones from above. What is kept from the forwards to the backwards of a pipeline
/// then fills the holes that its like has left, and what is made and used within one micro-batch's visit stays apart
/// from it, at the other end. Several limits between long and short are tried, fewer the more there are, until the
/// result is within 1 % of `bound` (the bytes that any offsets need). Deterministic.
/// Time: some 20 passes of n log n.
Packing sweep(std::span<Lifetime const> items, std::int64_t bound);

}  // namespace lamina::plan
