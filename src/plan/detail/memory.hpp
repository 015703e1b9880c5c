#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "lamina/program/program.hpp"

namespace lamina::plan {

inline constexpr std::int64_t alignment = 64;  ///< bytes; a cache line, and what program::Buffer promises
constexpr std::int64_t aligned(std::int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

/// When a buffer is in use, on the time line of the compute stream: step i is the instant 2 i; a step of another stream
/// lasts from just after the last compute step that happens before it (2 i + 1) to just before the first that happens
/// after it (2 i - 1). Two buffers may share bytes if one's last is smaller than the other's first.
struct Lifetime {
  std::int64_t bytes = 0;
  std::int64_t first = 0, last = 0;
};

struct Packing {
  std::vector<std::int64_t> offsets;  ///< per lifetime; multiples of `alignment`
  std::int64_t bytes = 0;             ///< end of the last one
};

/// The largest sum, of sizes rounded up to `unit`, of what is in use at one time: with `alignment` what any offsets
/// need.
std::int64_t live_bytes(std::span<Lifetime const> lifetimes, std::int64_t unit = alignment);

/// Offsets such that no two lifetimes that meet share bytes. Greedy by size with best fit (Pisarchyk and Lee,
/// "Efficient memory management for deep neural net inference", MLSys 2020), also greedy by area and by duration; then,
/// while more than the liveness bound and more than `enough` is needed, a random search over orders from the best of
/// these (seeded, with a fixed budget of work), and at last the large ones before all others, see sweep.hpp. Stretches
/// of time that nothing spans are solved on their own, equal ones once. Deterministic. @param kinds how many programs
/// the plan packs: many get a part of the budget each, so that a plan of a hundred stages takes seconds as well.
Packing pack(std::span<Lifetime const> lifetimes, std::int64_t enough = 0, std::int64_t kinds = 1);

/// Lifetimes of the buffers of one program (others get bytes = 0), from stream order and `after`.
std::vector<Lifetime> lifetimes(program::Template const& shape, int program);

/// Gives every transient buffer of every program its offset, the persistent ones being placed up to `base`, and sets
/// the arena's size. @param kinds as for `pack`.
void place_transients(program::Template& shape, std::int64_t base, std::int64_t kinds = 1);

/// Bytes that any assignment needs: persistent buffers, and for each program the largest sum of those that are in use
/// at one compute step: used by then, and surely used again. Steps of other streams count where their order against
/// the compute stream is certain. Computed from the steps alone, without rounding.
struct Bound {
  std::int64_t persistent = 0;
  std::vector<std::int64_t> transient;  ///< per program
  std::vector<int> step;                ///< per program: where that is, -1 when there is nothing
  /// Per program: what is in use there, by role (index: Role).
  std::vector<std::array<std::int64_t, 11>> roles;
  std::int64_t peak() const;
};
Bound liveness_bound(program::Template const& shape, program::Space space);

}  // namespace lamina::plan
