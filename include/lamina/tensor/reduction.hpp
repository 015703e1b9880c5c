#pragma once

#include <algorithm>
#include <cstdint>

/// How a group of ranks cuts what it exchanges, and the memory that takes: `comm` goes by it, `plan` counts it.
namespace lamina {

/// All-reduces up to this size go in one message from everyone to everyone. That takes one round trip instead of two,
/// and ranks / 2 times the traffic: between two ranks none more, and only the sums are done twice.
constexpr std::int64_t direct_reduction_bytes(int ranks) {
  return std::int64_t{ranks <= 2 ? 256 : ranks <= 4 ? 64 : 16} << 10;
}

/// Messages in flight per peer and direction of the larger ones: enough for a look at them every 0.25 ms, which is what
/// a thread beside a busy kernel gets, to keep several GB/s moving.
inline constexpr int reduction_window = 8;

/// Their largest message in a group of `ranks`. 256 KiB are long enough for the bandwidth and short enough to be summed
/// while they are in the cache; with more than 3 ranks pieces shrink, so that what comes in at once stays near 4 MiB.
constexpr std::int64_t reduction_piece_bytes(int ranks) {
  std::int64_t const budget = (std::int64_t{4} << 20) / reduction_window / std::max(1, ranks - 1);
  return std::clamp<std::int64_t>(budget / 4096 * 4096, std::int64_t{8} << 10, std::int64_t{256} << 10);
}

/// Most of a message that several short segments (rows of an inner dim, biases) are packed into.
constexpr std::int64_t reduction_packed_bytes(int ranks) { return reduction_piece_bytes(ranks) / 8; }

/// Bytes that a group keeps once it has a larger reduction, a reduce-scatter or an all-gather: pieces that come in,
/// packed ones on their way out and back per peer, and packed results once for all. 2.8 MiB with 2 ranks, about 5 MiB
/// up to 65.
constexpr std::int64_t reduction_scratch_bytes(int ranks) {
  return ranks < 2
             ? 0
             : reduction_window * ((ranks - 1) * (reduction_piece_bytes(ranks) + 2 * reduction_packed_bytes(ranks)) +
                                   reduction_packed_bytes(ranks));
}

/// The same for its small all-reduces, beside the above.
constexpr std::int64_t small_reduction_scratch_bytes(int ranks) {
  return ranks < 2 ? 0 : direct_reduction_bytes(ranks) * ranks;
}

}  // namespace lamina
