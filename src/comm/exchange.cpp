#include "detail/exchange.hpp"

#include <algorithm>
#include <cstring>

namespace lamina::comm::detail {

Exchange::Exchange(std::shared_ptr<Channel> const& channel, char const* what, Phases phases, DType dtype, Reduce op,
                   std::vector<Share> shares)
    : Collective(channel, what, channel->size > 1 ? kinds * channel->size * window : 0),
      phases_(phases),
      dtype_(dtype),
      op_(op),
      shares_(std::move(shares)),
      sequences_(std::size_t{kinds} * channel->size),
      parts_(channel->size) {
  channel_->need_pieces();
}

void Exchange::begin() {
  summed_ = 0;
  auto const own = std::ssize(mine());
  for (int peer = 0; peer < size(); ++peer) {
    auto const theirs = peer == rank() ? 0 : std::ssize(pieces(peer));
    auto const ours = peer == rank() ? 0 : own;
    sequence(contribution_in, peer) = {.length = phases_.reduce ? ours : 0};
    sequence(contribution_out, peer) = {.length = phases_.reduce ? theirs : 0};
    sequence(result_out, peer) = {.length = phases_.gather ? ours : 0};
    sequence(result_in, peer) = {.length = phases_.gather ? theirs : 0};
  }
}

// The scratch: [peer][slot] pieces that come in, [peer][slot] packed ones that go out, the same for those that come
// back, [slot] packed results.
std::int64_t Exchange::place(int peer, std::int64_t piece) const {
  return (peer < rank() ? peer : peer - 1) * window + piece % window;
}

char* Exchange::incoming(int peer, std::int64_t piece) const {
  return static_cast<char*>(channel_->pieces.at(place(peer, piece) * reduction_piece_bytes(size())));
}

char* Exchange::outgoing(int peer, std::int64_t piece) const {
  auto const n = std::int64_t{window} * (size() - 1);
  return static_cast<char*>(
      channel_->pieces.at(n * reduction_piece_bytes(size()) + place(peer, piece) * reduction_packed_bytes(size())));
}

char* Exchange::returning(int peer, std::int64_t piece) const {
  return outgoing(peer, piece) + window * (size() - 1) * reduction_packed_bytes(size());
}

char* Exchange::result(std::int64_t piece) const {
  auto const n = std::int64_t{window} * (size() - 1);
  return static_cast<char*>(
      channel_->pieces.at(n * (reduction_piece_bytes(size()) + 2 * reduction_packed_bytes(size())) +
                          piece % window * reduction_packed_bytes(size())));
}

void Exchange::note_completed() {
  for (int const at : completed_) {
    auto& s = sequences_[at / window];
    auto const slot = at % window;
    if (at / window / size() == result_in) {
      auto const peer = at / window % size();
      auto const piece = s.finished + (slot - s.finished % window + window) % window;
      auto const& p = pieces(peer)[piece];
      if (p.packed()) shares_[peer].unpack(p, returning(peer, piece));
    }
    s.done[slot] = true;
    while (s.finished < s.posted && s.done[s.finished % window]) s.done[s.finished++ % window] = false;
  }
}

void Exchange::post(int peer) {
  auto const width = sizeof_dtype(dtype_);
  auto const& theirs = pieces(peer);
  auto& in = sequence(contribution_in, peer);
  // A slot of the scratch is free again once its piece is in the sum.
  for (; in.posted < in.length && in.posted < summed_ + window; ++in.posted) {
    recv(slot(contribution_in, peer, in.posted), incoming(peer, in.posted), mine()[in.posted].count * width, peer,
         tag_reduce);
  }
  auto& out = sequence(contribution_out, peer);
  for (; out.open(out.length); ++out.posted) {
    auto const& piece = theirs[out.posted];
    auto const* from = shares_[peer].from(piece);
    if (piece.packed()) {
      shares_[peer].pack_from(piece, outgoing(peer, out.posted));
      from = outgoing(peer, out.posted);
    }
    send(slot(contribution_out, peer, out.posted), from, piece.count * width, peer, tag_reduce);
  }
  auto& results = sequence(result_out, peer);
  for (; results.open(std::min(results.length, summed_)); ++results.posted) {
    auto const& piece = mine()[results.posted];
    auto const* from = piece.packed() ? result(results.posted) : shares_[rank()].to(piece);
    send(slot(result_out, peer, results.posted), from, piece.count * width, peer, tag_gather);
  }
  auto& back = sequence(result_in, peer);
  for (; back.open(phases_.reduce ? std::min(back.length, out.finished) : back.length); ++back.posted) {
    auto const& piece = theirs[back.posted];
    auto* const to = piece.packed() ? returning(peer, back.posted) : shares_[peer].to(piece);
    recv(slot(result_in, peer, back.posted), to, piece.count * width, peer, tag_gather);
  }
}

// Segment by segment, so that what is ours needs no packing.
void Exchange::sum(Piece const& piece) {
  auto const width = sizeof_dtype(dtype_);
  auto const& own = shares_[rank()];
  std::int64_t before = 0;  // bytes
  for (auto const* s = own.begin_of(piece); s != own.end_of(piece); ++s) {
    if (phases_.reduce) {
      for (int peer = 0; peer < size(); ++peer) {
        parts_[peer] = peer == rank() ? s->from : incoming(peer, summed_) + before;
      }
      combine(dtype_, op_, s->to, parts_, s->count);
    } else if (s->to != s->from) {
      std::memcpy(s->to, s->from, static_cast<std::size_t>(s->count * width));
    }
    before += s->count * width;
  }
}

// One piece a call, so that messages move in between.
bool Exchange::sum_next() {
  if (summed_ == std::ssize(mine())) return false;
  auto const& piece = mine()[summed_];
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    if (phases_.reduce && sequence(contribution_in, peer).finished <= summed_) return false;
    // The packed result before in this slot must have left.
    if (phases_.gather && piece.packed() && sequence(result_out, peer).finished + window <= summed_) return false;
  }
  sum(piece);
  if (phases_.gather && piece.packed() && size() > 1) shares_[rank()].pack_to(piece, result(summed_));
  ++summed_;
  moved();
  return true;
}

bool Exchange::proceed() {
  note_completed();
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) post(peer);
  }
  if (sum_next()) return false;
  if (summed_ < std::ssize(mine())) return false;
  for (auto const& s : sequences_) {
    if (s.finished < s.length) return false;
  }
  return true;
}

SmallAllReduce::SmallAllReduce(std::shared_ptr<Channel> const& channel, std::vector<TensorRef> tensors, Reduce op)
    : Collective(channel, "all_reduce", 2 * channel->size),
      tensors_(std::move(tensors)),
      op_(op),
      parts_(channel->size) {
  std::erase_if(tensors_, [](TensorRef const& t) { return t.spec.count() == 0; });
  for (auto const& t : tensors_) bytes_ += t.spec.bytes();
  channel_->need_parts();
}

char* SmallAllReduce::part(int peer) const {
  if (peer == rank() && tensors_.size() == 1) return tensors_[0].as<char>();
  return static_cast<char*>(channel_->parts.at(peer * direct_reduction_bytes(size())));
}

void SmallAllReduce::begin() {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) recv(peer, part(peer), bytes_, peer, tag_small);
  }
  auto* at = part(rank());
  for (auto const& t : tensors_) {
    if (tensors_.size() > 1) std::memcpy(at, t.data, static_cast<std::size_t>(t.spec.bytes()));
    at += t.spec.bytes();
  }
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) send(size() + peer, part(rank()), bytes_, peer, tag_small);
  }
}

bool SmallAllReduce::proceed() {
  if (requests_.active() > 0) return false;
  std::int64_t at = 0;
  for (auto const& t : tensors_) {
    for (int peer = 0; peer < size(); ++peer) parts_[peer] = part(peer) + at;
    combine(t.spec.dtype, op_, t.data, parts_, t.spec.count());
    at += t.spec.bytes();
  }
  return true;
}

}  // namespace lamina::comm::detail
