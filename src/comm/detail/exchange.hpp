#pragma once

#include <array>
#include <vector>

#include "channel.hpp"
#include "reduce.hpp"
#include "share.hpp"

namespace lamina::comm::detail {

/// Reduce-scatter, all-gather, or one after the other (all-reduce), pairwise: every rank owns a share of the elements,
/// gets the others' values of it, sums them in rank order and sends the result to all (Rabenseifner's decomposition
/// with direct exchanges instead of recursive halving, so that any number of ranks gives the same bits everywhere).
/// Shares are cut into pieces; sums run while later pieces are on their way.
///
/// Per peer there are four sequences of pieces, each with a window of messages in flight:
///   contributions in  -> pieces            (my share, the peer's values)
///   contributions out <- piece.from        (the peer's share, my values)
///   results out       <- piece.to          (my share, summed)
///   results in        -> piece.to          (the peer's share; only after my contribution has left that memory)
/// Pieces of one segment move straight from and to the tensors; packed ones through the scratch.
class Exchange final : public Collective {
 public:
  struct Phases {
    bool reduce, gather;
  };

  /// `shares[r]`: what rank r owns, closed. Piece k of a share has the same count on every rank.
  Exchange(std::shared_ptr<Channel> const& channel, char const* what, Phases phases, DType dtype, Reduce op,
           std::vector<Share> shares);

 protected:
  void begin() override;
  bool proceed() override;

 private:
  enum Kind : int { contribution_in, contribution_out, result_out, result_in, kinds };

  /// How far a sequence is; pieces finish in any order inside the window.
  struct Sequence {
    std::int64_t posted = 0, finished = 0, length = 0;
    std::array<bool, window> done{};
    bool open(std::int64_t ready) const { return posted < ready && posted < finished + window; }
  };

  int slot(Kind kind, int peer, std::int64_t piece) const {
    return (kind * size() + peer) * window + static_cast<int>(piece % window);
  }
  Sequence& sequence(Kind kind, int peer) { return sequences_[kind * size() + peer]; }
  std::vector<Piece> const& pieces(int owner) const { return shares_[owner].pieces(); }
  std::vector<Piece> const& mine() const { return pieces(rank()); }
  std::int64_t place(int peer, std::int64_t piece) const;
  char* incoming(int peer, std::int64_t piece) const;
  char* outgoing(int peer, std::int64_t piece) const;
  char* returning(int peer, std::int64_t piece) const;
  char* result(std::int64_t piece) const;
  void note_completed();
  void post(int peer);
  bool sum_next();
  void sum(Piece const& piece);

  Phases phases_;
  DType dtype_;
  Reduce op_;
  std::vector<Share> shares_;
  std::vector<Sequence> sequences_;
  std::vector<void const*> parts_;
  std::int64_t summed_ = 0;  // pieces of my share
};

/// All-reduce of at most `direct_reduction_bytes`: everyone sends everything to everyone and sums in rank order. One
/// round trip. A single tensor is sent from where it lies, a list packed.
class SmallAllReduce final : public Collective {
 public:
  SmallAllReduce(std::shared_ptr<Channel> const& channel, std::vector<TensorRef> tensors, Reduce op);

 protected:
  void begin() override;
  bool proceed() override;

 private:
  char* part(int peer) const;

  std::vector<TensorRef> tensors_;
  Reduce op_;
  std::int64_t bytes_ = 0;
  std::vector<void const*> parts_;
};

}  // namespace lamina::comm::detail
