#pragma once

#include <vector>

#include "channel.hpp"
#include "exchange.hpp"
#include "peer_memory.hpp"
#include "reduce.hpp"
#include "share.hpp"

namespace lamina::comm::detail {

/// `Exchange` between ranks that can read each other's memory: every rank tells its peers where its values lie and
/// takes theirs from there when it gets to it, so that nothing is handed over piece by piece between threads that look
/// now and then. The same sums in the same order. (Single copies between processes: Goglin and Moreaud, "KNEM", 2013.)
///
/// Three messages per peer and direction: `offer`, where the values are; with both phases `ready`, the results are
/// there; `done`, nothing of the peer's will be read any more.
class ReadingExchange final : public Collective {
 public:
  /// Whether it is the better way; the same on every rank. Many short runs are packed faster than read.
  static bool fits(Channel const& channel, std::vector<Share> const& shares, std::int64_t width);

  ReadingExchange(std::shared_ptr<Channel> const& channel, char const* what, Exchange::Phases phases, DType dtype,
                  Reduce op, std::vector<Share> shares);
  /// Offers that are still on their way outlive the task.
  ~ReadingExchange() override;

 protected:
  void begin() override;
  bool proceed() override;

 private:
  enum Slot : int { offer_in, offer_out, ready_in, ready_out, done_in, done_out, slots };

  static constexpr std::size_t header = 5;  ///< words of an offer before the addresses

  /// What goes between this rank and a peer.
  struct Peer {
    /// `digest_`; the shared arena that has all of it, if there is one; addresses of segments.
    std::vector<std::uint64_t> offer_in, offer_out;
    device::SharedBlock offered;       ///< that `block` was made of, or that could not be mapped
    std::shared_ptr<PeerBlock> block;  ///< null: its memory is read by calls
    bool has_offered = false, is_ready = false, is_done = false;
    std::size_t taken = 0;  ///< segments of its share
    std::uint64_t const* contributions() const { return offer_in.data() + header; }
    /// Behind as many addresses of contributions.
    std::uint64_t const* results(std::size_t contributed) const { return contributions() + contributed; }
  };

  int slot(Slot kind, int peer) const { return kind * size() + peer; }
  std::span<Segment const> batch(int owner, std::size_t first) const;
  char* scratch(int peer) const;
  void map_arena_of(int peer);
  bool sums_in_place(int peer) const;
  void note_completed();
  bool read(int peer, std::size_t runs);
  void tell_all(Slot kind, Tag tag);
  void tell(Slot kind, int peer, Tag tag);
  bool sum_next();
  bool take_next();

  Exchange::Phases phases_;
  DType dtype_;
  Reduce op_;
  std::int64_t width_;
  std::vector<Share> shares_;
  std::uint64_t digest_;  // of what all ranks must have in common
  std::vector<Peer> peers_;
  std::vector<void const*> parts_;
  std::vector<RemoteRun> runs_;
  std::size_t summed_ = 0;  // segments of this rank's share
  int taken_from_ = 0;      // peer: one has huge pages in this process at a time
  bool has_told_ = false;   // that they are
  bool is_lost_ = false;    // a peer has gone
};

}  // namespace lamina::comm::detail
