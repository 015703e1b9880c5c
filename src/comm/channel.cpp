#include "detail/channel.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::comm::detail {

// Pieces of 512 KiB are long enough for the bandwidth and short enough to be summed while they are in the cache; with
// many ranks they shrink, so that a group's scratch stays near 4 MiB.
std::int64_t piece_bytes(int ranks) {
  std::int64_t const budget = (std::int64_t{4} << 20) / window / std::max(1, ranks - 1);
  return std::clamp<std::int64_t>(budget / 4096 * 4096, std::int64_t{16} << 10, std::int64_t{512} << 10);
}

// All to all takes one round trip instead of two, and n / 2 times the traffic: between two ranks none more, and only
// the sums are done twice.
std::int64_t direct_bytes(int ranks) { return std::int64_t{ranks <= 2 ? 256 : ranks <= 4 ? 64 : 16} << 10; }

std::int64_t packed_bytes(int ranks) { return piece_bytes(ranks) / 8; }

// Pieces that come in to be summed; packed ones on their way out and in, per peer; packed results, once for all peers.
std::int64_t scratch_bytes(int ranks) {
  if (ranks < 2) return 0;
  auto const exchange = window * ((ranks - 1) * (piece_bytes(ranks) + 2 * packed_bytes(ranks)) + packed_bytes(ranks));
  return std::max(exchange, direct_bytes(ranks) * ranks);
}

void fail_as_group(Channel const& channel, char const* what, Error const& cause) {
  bool const length = cause.info().code == "vendor.mpi.length";
  fail({.code = length ? "comm.mismatch" : "comm.peer_lost",
        .subject = text(what, " of group '", channel.name, "', rank ", channel.rank, " of ", channel.size),
        .found = text(cause.info().subject, ": ", cause.info().found),
        .expected = cause.info().expected,
        .fix = cause.info().fix});
}

void Collective::start() {
  if (channel_->busy.exchange(true)) {
    fail({.code = "comm.group.busy",
          .subject = text(what_, " of group '", channel_->name, "'"),
          .found = "another collective of the group is still running",
          .expected = "the collectives of a group one after another",
          .fix = "enqueue them on one stream, or wait for one before starting the next"});
  }
  try {
    begin();
  } catch (Error const& e) {
    fail_as_group(*channel_, what_, e);
  }
}

bool Collective::advance() {
  try {
    completed_ = requests_.test();
    moves_ += completed_.size();
    if (!proceed()) return false;
  } catch (Error const& e) {
    fail_as_group(*channel_, what_, e);
  }
  channel_->busy.store(false);
  return true;
}

}  // namespace lamina::comm::detail
