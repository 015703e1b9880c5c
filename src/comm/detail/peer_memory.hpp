#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lamina/device/arena.hpp"
#include "vendor/mpi/mpi.hpp"

namespace lamina::comm::detail {

/// Which ranks of a communicator may read each other's memory: those of this node, where the system lets them
/// (process_vm_readv, Linux; not across containers with process numbers of their own, nor where ptrace is forbidden).
struct Neighbours {
  std::vector<std::int64_t> processes;  ///< by rank, also this one; 0: out of reach

  bool all() const;  ///< the same on every rank of the group
  /// The same for a group of these ranks.
  Neighbours of(std::span<int const> members) const;
};

/// Collective over `world`, blocking. Every rank reads a word of each neighbour; where one fails, nobody on its node
/// reads. LAMINA_READ_PEERS=0 on any rank of a node forbids it.
Neighbours find_neighbours(mpi::Comm const& world);

/// A shared arena of another process, mapped into this one.
class PeerBlock {
 public:
  /// Null when the system does not let this process map it.
  static std::shared_ptr<PeerBlock> open(std::int64_t process, device::SharedBlock const& block);
  ~PeerBlock();
  PeerBlock(PeerBlock const&) = delete;
  PeerBlock& operator=(PeerBlock const&) = delete;

  device::SharedBlock const& block() const { return block_; }
  /// What of a run of the peer's bytes lies in its first huge page; until the next one is asked for. What is mapped
  /// counts as resident in this process, too: that is one huge page.
  std::span<char const> read(std::uint64_t address, std::int64_t bytes);
  void forget();

 private:
  PeerBlock(device::SharedBlock const& block, char* data) : block_(block), data_(data) {}
  device::SharedBlock block_;
  char* data_;
  std::int64_t page_ = -1;  // the huge page that may be mapped
};

/// Past the caches where the processor has such stores (AVX-512), because it is not read soon.
void copy_streaming(char* to, char const* from, std::int64_t bytes);

/// Bytes of another process and where they go.
struct RemoteRun {
  std::uint64_t from;
  char* to;
  std::int64_t bytes;
};

/// False: the process, or the memory, is gone, and what runs go to is undefined.
/// @throws Error "comm.peer_memory.read" when the system forbids it.
[[nodiscard]] bool read_peer(std::int64_t process, std::span<RemoteRun const> runs);

}  // namespace lamina::comm::detail
