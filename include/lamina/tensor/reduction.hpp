#pragma once

#include <algorithm>
#include <cstdint>

/// How a group of ranks cuts what it sums, and the memory that takes: `comm` goes by it, `plan` counts it.
namespace lamina {

/// Reductions up to this size go in one message from everyone to everyone.
inline constexpr std::int64_t small_reduction_bytes = std::int64_t{16} << 10;
/// Messages in flight per peer and direction of the larger ones.
inline constexpr int reduction_window = 4;

/// Their largest message in a group of `ranks`. 512 KiB are long enough for the bandwidth and short enough to be summed
/// while they are in the cache; with more than 3 ranks pieces shrink, so that what comes in at once stays near 4 MiB.
constexpr std::int64_t reduction_piece_bytes(int ranks) {
  std::int64_t const budget = (std::int64_t{4} << 20) / reduction_window / std::max(1, ranks - 1);
  return std::clamp<std::int64_t>(budget / 4096 * 4096, small_reduction_bytes, std::int64_t{512} << 10);
}

/// Bytes that a group keeps for incoming pieces once it has larger reductions: 2 MiB with 2 ranks, at most 4 MiB up to
/// 65, 64 KiB more for each rank beyond.
constexpr std::int64_t reduction_scratch_bytes(int ranks) {
  return ranks < 2 ? 0 : reduction_piece_bytes(ranks) * reduction_window * (ranks - 1);
}

/// The same for its small ones, beside the above.
constexpr std::int64_t small_reduction_scratch_bytes(int ranks) {
  return ranks < 2 ? 0 : small_reduction_bytes * ranks;
}

}  // namespace lamina
