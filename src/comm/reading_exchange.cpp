#include "detail/reading_exchange.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "lamina/base/hash.hpp"
#include "lamina/base/text.hpp"

namespace lamina::comm::detail {
namespace {

/// Reading a run of another process costs, beside the copy, about what packing and unpacking this many bytes does.
constexpr std::int64_t least_run_bytes = std::int64_t{8} << 10;
/// Read at once: a call costs several us beside what it copies.
constexpr std::int64_t batch_bytes = std::int64_t{1} << 20;
/// Ranks. A sum has a huge page of each peer in this process at once, which no plan counts.
constexpr int most_summed_in_place = 2;

/// What both sides of an offer must have in common: phases, dtype, op and the segments of all shares.
std::uint64_t digest_of(std::vector<Share> const& shares, Exchange::Phases phases, DType dtype, Reduce op) {
  std::vector<std::int64_t> words{phases.reduce, phases.gather, static_cast<std::int64_t>(dtype),
                                  static_cast<std::int64_t>(op)};
  for (auto const& share : shares) {
    words.push_back(-1);
    for (auto const& s : share.segments()) words.push_back(s.count);
  }
  return hash64(words.data(), words.size() * sizeof words[0]);
}

/// Puts the shared arena that has all addresses of an offer into its header; without one the words stay zero.
void add_arena_to(std::vector<std::uint64_t>& offer, std::size_t header) {
  std::optional<device::SharedBlock> block;
  for (auto i = header; i < offer.size(); ++i) {
    auto const b = device::Arena::shared_block_of(reinterpret_cast<void const*>(offer[i]));
    if (!b || (block && b->base != block->base)) return;
    block = b;
  }
  if (!block) return;
  offer[1] = block->base, offer[2] = static_cast<std::uint64_t>(block->bytes);
  offer[3] = static_cast<std::uint64_t>(block->file), offer[4] = block->inode;
}

}  // namespace

bool ReadingExchange::fits(Channel const& channel, std::vector<Share> const& shares, std::int64_t width) {
  if (!channel.neighbours.all()) return false;
  std::int64_t runs = 0, bytes = 0;
  for (auto const& share : shares) {
    runs += share.runs();
    for (auto const& s : share.segments()) bytes += s.count * width;
  }
  return bytes > direct_reduction_bytes(channel.size) && bytes >= runs * least_run_bytes;
}

ReadingExchange::ReadingExchange(std::shared_ptr<Channel> const& channel, char const* what, Exchange::Phases phases,
                                 DType dtype, Reduce op, std::vector<Share> shares)
    : Collective(channel, what, slots * channel->size),
      phases_(phases),
      dtype_(dtype),
      op_(op),
      width_(sizeof_dtype(dtype)),
      shares_(std::move(shares)),
      digest_(digest_of(shares_, phases, dtype, op)),
      peers_(channel->size),
      parts_(channel->size),
      runs_(64) {
  channel_->need_pieces();
  channel_->blocks.resize(channel_->size);
  auto const own = std::span(shares_[rank()].segments());
  for (int p = 0; p < size(); ++p) {
    if (p == rank()) continue;
    auto& peer = peers_[p];
    auto const theirs = std::span(shares_[p].segments());
    peer.offer_out.resize(header);
    peer.offer_out[0] = digest_;
    auto const add = [&](char const* at) { peer.offer_out.push_back(reinterpret_cast<std::uint64_t>(at)); };
    if (phases_.reduce) std::ranges::for_each(theirs, [&](Segment const& s) { add(s.from); });
    if (phases_.gather) std::ranges::for_each(own, [&](Segment const& s) { add(phases_.reduce ? s.to : s.from); });
    auto const contributions = phases_.reduce ? own.size() : 0, results = phases_.gather ? theirs.size() : 0;
    peer.offer_in.resize(header + contributions + results);
    add_arena_to(peer.offer_out, header);
  }
}

ReadingExchange::~ReadingExchange() {
  if (requests_.active() == 0) return;
  for (auto& peer : peers_) {
    channel_->undelivered.push_back(std::move(peer.offer_out));
    channel_->undelivered.push_back(std::move(peer.offer_in));
  }
}

/// The peer's arena, once for all tasks of the group: they run one after another.
void ReadingExchange::map_arena_of(int p) {
  auto& peer = peers_[p];
  auto const* const word = peer.offer_in.data() + 1;
  device::SharedBlock const offered{word[0], static_cast<std::int64_t>(word[1]), static_cast<std::int64_t>(word[2]),
                                    word[3]};
  if (offered == peer.offered) return;
  peer.offered = offered;
  peer.block = {};
  if (offered.bytes == 0) return;
  auto& known = channel_->blocks[static_cast<std::size_t>(p)];
  peer.block = known.lock();
  if (peer.block && peer.block->block() == offered) return;
  known = peer.block = PeerBlock::open(channel_->neighbours.processes[p], offered);
}

void ReadingExchange::begin() {
  summed_ = 0;
  has_told_ = false;
  auto const words = [](auto const& list) { return static_cast<std::int64_t>(list.size() * sizeof list[0]); };
  for (int p = 0; p < size(); ++p) {
    if (p == rank()) continue;
    auto& peer = peers_[p];
    peer.has_offered = peer.is_done = false, peer.is_ready = !phases_.reduce, peer.taken = 0;
    recv(slot(offer_in, p), peer.offer_in.data(), words(peer.offer_in), p, tag_reduce);
    if (phases_.reduce && phases_.gather) recv(slot(ready_in, p), nullptr, 0, p, tag_gather);
    recv(slot(done_in, p), nullptr, 0, p, tag_done);
    send(slot(offer_out, p), peer.offer_out.data(), words(peer.offer_out), p, tag_reduce);
  }
}

void ReadingExchange::note_completed() {
  for (int const at : completed_) {
    int const p = at % size();
    auto& peer = peers_[p];
    if (at / size() == ready_in) peer.is_ready = true;
    if (at / size() != offer_in) continue;
    peer.has_offered = true;
    if (peer.offer_in[0] == digest_) {
      map_arena_of(p);
      continue;
    }
    fail({.code = "comm.peer_memory.length",
          .subject = text("offer of rank ", p, " of its group"),
          .found = "another collective, dtype or op, or other rows, than this rank has",
          .expected = "the same on all ranks",
          .fix =
              "the ranks run different programs or collectives: compare their plans (`lamina plan --print program`)"});
  }
}

void ReadingExchange::tell(Slot kind, int peer, Tag tag) { send(slot(kind, peer), nullptr, 0, peer, tag); }

void ReadingExchange::tell_all(Slot kind, Tag tag) {
  for (int p = 0; p < size(); ++p) {
    if (p != rank()) tell(kind, p, tag);
  }
}

/// Segments of a share from `first` on that are moved together.
std::span<Segment const> ReadingExchange::batch(int owner, std::size_t first) const {
  auto const most = std::min(batch_bytes, reduction_window * reduction_piece_bytes(size())) / width_;
  auto const rest = std::span(shares_[owner].segments()).subspan(first);
  std::size_t n = 1;
  for (auto count = rest[0].count; n < rest.size() && n < runs_.size() && count + rest[n].count <= most; ++n) {
    count += rest[n].count;
  }
  return rest.first(n);
}

bool ReadingExchange::sums_in_place(int peer) const { return size() <= most_summed_in_place && peers_[peer].block; }

/// Where what is read of a peer's values waits to be added.
char* ReadingExchange::scratch(int peer) const {
  auto const room = reduction_window * reduction_piece_bytes(size());
  return static_cast<char*>(channel_->pieces.at((peer < rank() ? peer : peer - 1) * room));
}

/// The first of `runs_`, of a peer's memory. When that is gone the collective waits, as for a message that does not
/// come: the peer has something to say, and this rank's complaint would be heard first.
bool ReadingExchange::read(int peer, std::size_t runs) {
  is_lost_ = !read_peer(channel_->neighbours.processes[peer], std::span(runs_).first(runs));
  return !is_lost_;
}

/// Adds up this rank's share: one batch a call, so that other streams get their turn.
bool ReadingExchange::sum_next() {
  if (summed_ == shares_[rank()].segments().size()) return false;
  auto const segments = batch(rank(), summed_);
  for (int p = 0; p < size() && phases_.reduce; ++p) {
    if (p != rank() && !peers_[p].has_offered) return false;
  }
  for (int p = 0; p < size() && phases_.reduce; ++p) {
    if (p == rank() || sums_in_place(p)) continue;
    auto* to = scratch(p);
    for (std::size_t i = 0; i < segments.size(); ++i) {
      auto const bytes = segments[i].count * width_;
      runs_[i] = {peers_[p].contributions()[summed_ + i], to, bytes};
      to += bytes;
    }
    if (!read(p, segments.size())) return false;
  }
  std::int64_t before = 0;  // bytes
  for (std::size_t i = 0; i < segments.size(); ++i) {
    auto const& s = segments[i];
    auto const bytes = s.count * width_;
    if (!phases_.reduce && s.to != s.from) std::memcpy(s.to, s.from, static_cast<std::size_t>(bytes));
    for (std::int64_t done = 0, part = 0; phases_.reduce && done < bytes; done += part) {
      part = bytes - done;
      for (int p = 0; p < size(); ++p) {
        if (p == rank()) {
          parts_[p] = s.from + done;
        } else if (sums_in_place(p)) {
          auto const theirs = peers_[p].block->read(peers_[p].contributions()[summed_ + i] + done, part);
          parts_[p] = theirs.data();
          part = std::ssize(theirs);
        } else {
          parts_[p] = scratch(p) + before + done;
        }
      }
      combine(dtype_, op_, s.to + done, parts_, part / width_);
    }
    before += bytes;
  }
  summed_ += segments.size();
  return true;
}

/// The next batch of somebody's results; every rank begins with another peer.
bool ReadingExchange::take_next() {
  auto const contributed = phases_.reduce ? shares_[rank()].segments().size() : 0;
  for (int i = 1; i < size(); ++i) {
    int const p = (rank() + i) % size();
    auto& peer = peers_[p];
    if (!peer.has_offered || !peer.is_ready || peer.taken == shares_[p].segments().size()) continue;
    int const before = std::exchange(taken_from_, p);
    if (before != p && peers_[before].block) peers_[before].block->forget();
    auto const segments = batch(p, peer.taken);
    auto const* from = peer.results(contributed) + peer.taken;
    for (std::size_t k = 0; k < segments.size(); ++k) {
      runs_[k] = {from[k], segments[k].to, segments[k].count * width_};
      for (std::int64_t done = 0; peer.block && done < runs_[k].bytes;) {
        auto const part = peer.block->read(from[k] + done, runs_[k].bytes - done);
        copy_streaming(runs_[k].to + done, part.data(), std::ssize(part));
        done += std::ssize(part);
      }
    }
    if (!peer.block && !read(p, segments.size())) return false;
    peer.taken += segments.size();
    return true;
  }
  return false;
}

bool ReadingExchange::proceed() {
  if (is_lost_) return false;
  note_completed();
  if (sum_next()) {
    moved();
    return false;
  }
  if (summed_ < shares_[rank()].segments().size()) return false;
  if (!std::exchange(has_told_, true) && phases_.reduce) {
    phases_.gather ? tell_all(ready_out, tag_gather) : tell_all(done_out, tag_done);
  }
  if (phases_.gather) {
    if (take_next()) {
      moved();
      return false;
    }
    for (int p = 0; p < size(); ++p) {
      auto& peer = peers_[p];
      if (p == rank() || peer.is_done || !peer.is_ready || peer.taken < shares_[p].segments().size()) continue;
      peer.is_done = true;
      tell(done_out, p, tag_done);
    }
    for (int p = 0; p < size(); ++p) {
      if (p != rank() && !peers_[p].is_done) return false;
    }
  }
  if (requests_.active() > 0) return false;
  for (auto& peer : peers_) {
    if (peer.block) peer.block->forget();
  }
  return true;
}

}  // namespace lamina::comm::detail
