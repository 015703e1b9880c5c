#pragma once

#include <compare>
#include <cstdint>
#include <span>

#include "plan/detail/memory.hpp"

namespace lamina::plan {

/// Bytes [from, to).
struct Range {
  std::int64_t from, to;
  auto operator<=>(Range const&) const = default;
};

inline bool meet(Lifetime const& a, Lifetime const& b) { return a.first <= b.last && b.first <= a.last; }

inline constexpr std::int64_t most_large = 400;  ///< that are placed before all others; more take too long

/// Offsets of those of `least` bytes and more, -1 for the others; `items` sorted by `first`. In the order of time, each
/// at an end of what lies below the ceiling. One that comes again and again, as the scratch of a head does, leaves what
/// lives across it the other end; it changes ends where what lives across it has changed, since both kinds may live in
/// between.
Packing place_large(std::span<Lifetime const> items, std::int64_t least, std::int64_t ceiling);

/// Offsets for many lifetimes, sorted by `first`, of aligned sizes: in the order of time, long ones from below into the
/// smallest hole that holds them, short ones from above. What is kept from the forwards to the backwards of a pipeline
/// then fills the holes that its like has left, and what is made and used within one micro-batch's visit stays apart
/// from it, at the other end. Where that is not enough, those of some part of the bound are placed before all others,
/// at the ends. Several limits between long and short are tried, fewer the more there are, until the result is within
/// 1 % of `bound` (the bytes that any offsets need). Deterministic.
/// Time: up to 48 passes, fewer the more there are, each of one look at the holes per lifetime.
Packing sweep(std::span<Lifetime const> items, std::int64_t bound);

}  // namespace lamina::plan
