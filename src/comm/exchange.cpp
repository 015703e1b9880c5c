#include "detail/exchange.hpp"

#include <algorithm>
#include <cstring>

namespace lamina::comm::detail {

Exchange::Exchange(std::shared_ptr<Channel> const& channel, char const* what, Phases phases, DType dtype, Reduce op,
                   std::vector<std::vector<Piece>> shares)
    : Collective(channel, what, channel->size > 1 ? kinds * channel->size * window : 0),
      phases_(phases),
      dtype_(dtype),
      op_(op),
      shares_(std::move(shares)),
      sequences_(std::size_t{kinds} * channel->size),
      parts_(channel->size) {
  if (phases_.reduce) channel_->need_pieces();
}

void Exchange::begin() {
  summed_ = 0;
  auto const own = std::ssize(mine());
  for (int peer = 0; peer < size(); ++peer) {
    auto const theirs = peer == rank() ? 0 : std::ssize(shares_[peer]);
    auto const ours = peer == rank() ? 0 : own;
    sequence(contribution_in, peer) = {.length = phases_.reduce ? ours : 0};
    sequence(contribution_out, peer) = {.length = phases_.reduce ? theirs : 0};
    sequence(result_out, peer) = {.length = phases_.gather ? ours : 0};
    sequence(result_in, peer) = {.length = phases_.gather ? theirs : 0};
  }
}

char* Exchange::incoming(int peer, std::int64_t piece) const {
  std::int64_t const slot_of_peer = peer < rank() ? peer : peer - 1;
  auto const index = slot_of_peer * window + piece % window;
  return static_cast<char*>(channel_->pieces.at(index * reduction_piece_bytes(size())));
}

void Exchange::note_completed() {
  for (int const at : completed_) {
    auto& s = sequences_[at / window];
    s.done[at % window] = true;
    while (s.finished < s.posted && s.done[s.finished % window]) s.done[s.finished++ % window] = false;
  }
}

void Exchange::post(int peer) {
  auto const width = sizeof_dtype(dtype_);
  auto const& theirs = shares_[peer];
  auto& in = sequence(contribution_in, peer);
  // A slot of the scratch is free again once its piece is in the sum.
  for (; in.posted < in.length && in.posted < summed_ + window; ++in.posted) {
    recv(slot(contribution_in, peer, in.posted), incoming(peer, in.posted), mine()[in.posted].count * width, peer,
         tag_reduce);
  }
  auto& out = sequence(contribution_out, peer);
  for (; out.open(out.length); ++out.posted) {
    auto const& piece = theirs[out.posted];
    send(slot(contribution_out, peer, out.posted), piece.from, piece.count * width, peer, tag_reduce);
  }
  auto& results = sequence(result_out, peer);
  for (; results.open(std::min(results.length, summed_)); ++results.posted) {
    auto const& piece = mine()[results.posted];
    send(slot(result_out, peer, results.posted), piece.to, piece.count * width, peer, tag_gather);
  }
  auto& back = sequence(result_in, peer);
  for (; back.open(phases_.reduce ? std::min(back.length, out.finished) : back.length); ++back.posted) {
    auto const& piece = theirs[back.posted];
    recv(slot(result_in, peer, back.posted), piece.to, piece.count * width, peer, tag_gather);
  }
}

// One piece a call, so that messages move in between.
bool Exchange::sum_next() {
  if (summed_ == std::ssize(mine())) return false;
  for (int peer = 0; peer < size(); ++peer) {
    if (phases_.reduce && peer != rank() && sequence(contribution_in, peer).finished <= summed_) return false;
  }
  auto const& piece = mine()[summed_];
  if (phases_.reduce) {
    for (int peer = 0; peer < size(); ++peer) {
      parts_[peer] = peer == rank() ? piece.from : incoming(peer, summed_);
    }
    combine(dtype_, op_, piece.to, parts_, piece.count);
  } else if (piece.to != piece.from) {
    std::memcpy(piece.to, piece.from, static_cast<std::size_t>(piece.count * sizeof_dtype(dtype_)));
  }
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
  for (auto const& t : tensors_) bytes_ += t.spec.bytes();
  channel_->need_parts();
}

char* SmallAllReduce::part(int peer) const {
  return static_cast<char*>(channel_->parts.at(peer * small_reduction_bytes));
}

void SmallAllReduce::begin() {
  auto* at = part(rank());
  for (auto const& t : tensors_) {
    if (t.spec.bytes() == 0) continue;
    std::memcpy(at, t.data, static_cast<std::size_t>(t.spec.bytes()));
    at += t.spec.bytes();
  }
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    recv(peer, part(peer), bytes_, peer, tag_small);
    send(size() + peer, part(rank()), bytes_, peer, tag_small);
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
