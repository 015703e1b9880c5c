#pragma once

#include <cstdint>
#include <vector>

#include "lamina/comm/communicator.hpp"

namespace lamina::comm::detail {

/// Contiguous elements of one rank's share: read from `from`, the result goes to `to` (they may be equal).
struct Segment {
  char const* from;
  char* to;
  std::int64_t count;  ///< elements
};

/// One message's worth of a share: a segment that is sent from where it lies, or several small ones that are packed.
struct Piece {
  std::size_t first, last;  ///< segments [first, last)
  std::int64_t count;       ///< elements of all of them
  bool packed() const { return last - first > 1; }
};

/// What one rank owns of the elements of a collective. Ranks that describe the same share (with other addresses) in
/// the same order get the same pieces.
class Share {
 public:
  /// @param width bytes of an element; pieces have at most `reduction_piece_bytes(ranks)`, packed ones
  /// `reduction_packed_bytes(ranks)`.
  Share(std::int64_t width, int ranks);
  /// Large segments become pieces of their own; small ones are gathered until they fill a packed piece.
  void add(Segment segment);
  /// No more segments.
  void close();

  std::vector<Piece> const& pieces() const { return pieces_; }
  std::vector<Segment> const& segments() const { return segments_; }
  /// Segments as they were added, before long ones were cut.
  std::int64_t runs() const { return runs_; }
  Segment const* begin_of(Piece const& piece) const { return &segments_[piece.first]; }
  Segment const* end_of(Piece const& piece) const { return begin_of(piece) + (piece.last - piece.first); }
  bool packs() const;

  /// Where the bytes of an unpacked piece lie.
  char const* from(Piece const& piece) const { return segments_[piece.first].from; }
  char* to(Piece const& piece) const { return segments_[piece.first].to; }
  /// Copies a piece between its segments and one run of bytes.
  void pack_from(Piece const& piece, char* bytes) const;
  void pack_to(Piece const& piece, char* bytes) const;
  void unpack(Piece const& piece, char const* bytes) const;

 private:
  void push(Segment segment);

  std::int64_t width_, most_, packed_most_;
  std::vector<Segment> segments_;
  std::vector<Piece> pieces_;
  std::vector<Segment> small_;  // waiting for company
  std::int64_t small_count_ = 0, runs_ = 0;
};

/// A tensor as [outer][rows][inner].
struct RowView {
  std::int64_t outer, rows, inner;
};
RowView view_rows(Shape const& shape, RowsOf of);

}  // namespace lamina::comm::detail
