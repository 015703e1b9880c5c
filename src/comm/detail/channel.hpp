#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"
#include "lamina/device/arena.hpp"
#include "lamina/tensor/reduction.hpp"
#include "peer_memory.hpp"
#include "vendor/mpi/mpi.hpp"

namespace lamina::comm::detail {

/// Tags inside a group. Collectives of a group run one after another on every rank, and MPI keeps the messages of one
/// sender and tag in order, so one tag per purpose is enough.
enum Tag : int { tag_reduce = 1, tag_gather, tag_done, tag_small, tag_broadcast, tag_barrier, tag_message };

/// Messages in flight per peer and purpose.
inline constexpr int window = reduction_window;

/// What the tasks of a group share.
struct Channel {
  int rank = 0, size = 1;
  std::string name;
  mpi::Comm comm;                                       ///< not used with one rank
  Neighbours neighbours;                                ///< whose memory this rank can read
  std::vector<std::vector<std::uint64_t>> undelivered;  ///< of tasks that were given up: MPI may still read them
  std::vector<std::weak_ptr<PeerBlock>> blocks;         ///< by rank: the shared arena that its tasks have read last
  device::Arena pieces, parts;    ///< what large and small reductions receive; made with the first task of the kind
  std::atomic<bool> busy{false};  ///< a collective is in flight

  void need_pieces() { need(pieces, reduction_scratch_bytes(size)); }
  void need_parts() { need(parts, small_reduction_scratch_bytes(size)); }

 private:
  static void need(device::Arena& scratch, std::int64_t bytes) {
    if (scratch.bytes() < bytes) scratch = device::Arena(bytes);
  }
};

/// A collective on a channel: keeps the channel to itself from `start` until it has finished, and says which group
/// failed. Derived classes implement `begin` and `proceed`.
class Collective : public device::Task {
 public:
  Collective(std::shared_ptr<Channel> channel, char const* what, int slots)
      : channel_(std::move(channel)), requests_(slots), what_(what) {}

  void start() final;
  bool advance() final;
  std::uint64_t progress() const final { return moves_; }

 protected:
  virtual void begin() = 0;
  virtual bool proceed() = 0;  ///< true when finished

  int rank() const { return channel_->rank; }
  int size() const { return channel_->size; }
  void send(int slot, void const* data, std::int64_t bytes, int peer, Tag tag) {
    requests_.send(slot, channel_->comm, data, bytes, peer, tag);
  }
  void recv(int slot, void* data, std::int64_t bytes, int peer, Tag tag) {
    requests_.recv(slot, channel_->comm, data, bytes, peer, tag);
  }
  /// Something moved, beside messages.
  void moved() { ++moves_; }

  std::shared_ptr<Channel> channel_;
  mpi::Requests requests_;
  /// Slots whose messages completed before this call of `proceed`.
  std::span<int const> completed_;

 private:
  char const* what_;
  std::uint64_t moves_ = 0;
};

/// An error of MPI as an error of the group.
[[noreturn]] void fail_as_group(Channel const& channel, char const* what, Error const& cause);

}  // namespace lamina::comm::detail
