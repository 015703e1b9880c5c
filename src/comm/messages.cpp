#include "detail/messages.hpp"

#include <algorithm>
#include <bit>

namespace lamina::comm::detail {
namespace {

constexpr auto max_bytes = mpi::Requests::max_bytes;
constexpr std::int64_t broadcast_piece = std::int64_t{256} << 10;

int messages_for(std::int64_t bytes) { return static_cast<int>((bytes + max_bytes - 1) / max_bytes); }

}  // namespace

Message::Message(std::shared_ptr<Channel> channel, Way way, TensorRef t, int peer)
    : channel_(std::move(channel)), way_(way), t_(t), peer_(peer), requests_(messages_for(t.spec.bytes())) {}

void Message::start() {
  try {
    auto const bytes = t_.spec.bytes();
    for (int i = 0; i < messages_for(bytes); ++i) {
      auto* const data = t_.as<char>() + i * max_bytes;
      auto const length = std::min(max_bytes, bytes - i * max_bytes);
      if (way_ == Way::send) {
        requests_.send(i, channel_->comm, data, length, peer_, tag_message);
      } else {
        requests_.recv(i, channel_->comm, data, length, peer_, tag_message);
      }
    }
  } catch (Error const& e) {
    fail_as_group(*channel_, what(), e);
  }
}

bool Message::advance() {
  try {
    requests_.test();
  } catch (Error const& e) {
    fail_as_group(*channel_, what(), e);
  }
  return requests_.active() == 0;
}

Broadcast::Broadcast(std::shared_ptr<Channel> const& channel, TensorRef t, int root)
    : Collective(channel, "broadcast", (1 + std::bit_width(static_cast<unsigned>(channel->size))) * window), t_(t) {
  pieces_ = (t.spec.bytes() + broadcast_piece - 1) / broadcast_piece;
  // Numbered from the root, rank v hears from v without its lowest bit, and serves v + 2^k for the bits below that one.
  int const n = size(), me = (rank() - root + n) % n;
  int lowest = 1;
  while (lowest < n && (me & lowest) == 0) lowest *= 2;
  if (me != 0) parent_ = (me - lowest + root) % n;
  links_.push_back({.peer = parent_, .posted = 0, .finished = 0, .done = {}});
  for (int bit = lowest / 2; bit > 0; bit /= 2) {
    if (me + bit < n) links_.push_back({.peer = (me + bit + root) % n, .posted = 0, .finished = 0, .done = {}});
  }
}

std::int64_t Broadcast::bytes_of(std::int64_t piece) const {
  return std::min(broadcast_piece, t_.spec.bytes() - piece * broadcast_piece);
}

char* Broadcast::data_of(std::int64_t piece) const { return t_.as<char>() + piece * broadcast_piece; }

void Broadcast::begin() {
  for (auto& link : links_) link.posted = link.finished = 0, link.done = {};
  if (parent_ < 0) links_[0].posted = links_[0].finished = pieces_;  // the root has it all
}

bool Broadcast::proceed() {
  for (int const at : completed_) {
    auto& link = links_[at / window];
    link.done[at % window] = true;
    while (link.finished < link.posted && link.done[link.finished % window]) {
      link.done[link.finished++ % window] = false;
    }
  }
  bool finished = true;
  for (std::size_t i = 0; i < links_.size(); ++i) {
    auto& link = links_[i];
    auto const ready = i == 0 ? pieces_ : links_[0].finished;
    for (; link.posted < ready && link.posted < link.finished + window; ++link.posted) {
      auto const slot = static_cast<int>(i * window + link.posted % window);
      if (i == 0) {
        recv(slot, data_of(link.posted), bytes_of(link.posted), link.peer, tag_broadcast);
      } else {
        send(slot, data_of(link.posted), bytes_of(link.posted), link.peer, tag_broadcast);
      }
    }
    finished &= link.finished == pieces_;
  }
  return finished;
}

Barrier::Barrier(std::shared_ptr<Channel> channel) : Collective(std::move(channel), "barrier", 2) {}

void Barrier::begin() {
  distance_ = 1;
  if (size() > 1) post();
}

void Barrier::post() {
  recv(0, nullptr, 0, (rank() - distance_ + size()) % size(), tag_barrier);
  send(1, nullptr, 0, (rank() + distance_) % size(), tag_barrier);
}

bool Barrier::proceed() {
  if (requests_.active() > 0) return false;
  if (size() == 1 || 2 * distance_ >= size()) return true;
  distance_ *= 2;
  post();
  return false;
}

}  // namespace lamina::comm::detail
