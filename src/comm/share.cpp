#include "detail/share.hpp"

#include <algorithm>
#include <cstring>

#include "detail/channel.hpp"

namespace lamina::comm::detail {

Share::Share(std::int64_t width, int ranks)
    : width_(width), most_(reduction_piece_bytes(ranks) / width), packed_most_(reduction_packed_bytes(ranks) / width) {}

void Share::push(Segment segment) {
  segments_.push_back(segment);
  pieces_.push_back({segments_.size() - 1, segments_.size(), segment.count});
}

void Share::add(Segment segment) {
  if (segment.count == 0) return;
  ++runs_;
  if (2 * segment.count >= packed_most_) {
    for (std::int64_t at = 0; at < segment.count; at += most_) {
      auto const bytes = at * width_;
      push({segment.from ? segment.from + bytes : nullptr, segment.to ? segment.to + bytes : nullptr,
            std::min(most_, segment.count - at)});
    }
    return;
  }
  if (small_count_ + segment.count > packed_most_) close();
  small_.push_back(segment);
  small_count_ += segment.count;
}

void Share::close() {
  if (small_.empty()) return;
  auto const first = segments_.size();
  segments_.insert(segments_.end(), small_.begin(), small_.end());
  pieces_.push_back({first, segments_.size(), small_count_});
  small_.clear();
  small_count_ = 0;
}

bool Share::packs() const {
  return std::any_of(pieces_.begin(), pieces_.end(), [](Piece const& p) { return p.packed(); });
}

void Share::pack_from(Piece const& piece, char* bytes) const {
  for (auto const* s = begin_of(piece); s != end_of(piece); bytes += s->count * width_, ++s) {
    std::memcpy(bytes, s->from, static_cast<std::size_t>(s->count * width_));
  }
}

void Share::pack_to(Piece const& piece, char* bytes) const {
  for (auto const* s = begin_of(piece); s != end_of(piece); bytes += s->count * width_, ++s) {
    std::memcpy(bytes, s->to, static_cast<std::size_t>(s->count * width_));
  }
}

void Share::unpack(Piece const& piece, char const* bytes) const {
  for (auto const* s = begin_of(piece); s != end_of(piece); bytes += s->count * width_, ++s) {
    std::memcpy(s->to, bytes, static_cast<std::size_t>(s->count * width_));
  }
}

RowView view_rows(Shape const& shape, RowsOf of) {
  if (of.flat) {
    auto const inner = shape.ndim() > 1 ? shape.back() : 1;
    return {1, inner > 0 ? shape.count() / inner : 0, inner};
  }
  return {shape.count(0, of.dim), shape[of.dim], shape.count(of.dim + 1, shape.ndim())};
}

}  // namespace lamina::comm::detail
