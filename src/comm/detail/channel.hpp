#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"
#include "lamina/device/arena.hpp"
#include "vendor/mpi/mpi.hpp"

namespace lamina::comm::detail {

/// Tags inside a group. Collectives of a group run one after another on every rank, and MPI keeps the messages of one
/// sender and tag in order, so one tag per purpose is enough.
enum Tag : int { tag_reduce = 1, tag_gather, tag_small, tag_broadcast, tag_barrier, tag_message };

/// Windows of the collectives: messages in flight per peer and purpose, and their largest size.
inline constexpr int window = 4;
std::int64_t direct_bytes(int ranks);  ///< all-reduces up to this size go all to all
std::int64_t piece_bytes(int ranks);
std::int64_t packed_bytes(int ranks);  ///< most of a message that several segments are packed into
std::int64_t scratch_bytes(int ranks);

/// What the tasks of a group share.
struct Channel {
  int rank = 0, size = 1;
  std::string name;
  mpi::Comm comm;                 ///< not used with one rank
  device::Arena scratch;          ///< incoming pieces; made with the first task that needs it
  std::atomic<bool> busy{false};  ///< a collective is in flight

  void need_scratch() {
    if (size > 1 && scratch.bytes() == 0) scratch = device::Arena(scratch_bytes(size));
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
