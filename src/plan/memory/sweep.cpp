#include "plan/detail/sweep.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace lamina::plan {
namespace {

using Index = std::size_t;
constexpr std::int64_t most_work = 1'600'000;  // items placed in one call, over all passes
constexpr int most_passes = 40;

/// The free bytes below a ceiling: holes in the order of their place. They are few, and lie together in memory.
class Holes {
 public:
  explicit Holes(std::int64_t ceiling) : end_(ceiling) {
    if (ceiling > 0) holes_.push_back({0, ceiling});
  }

  /// The lowest bytes of the smallest hole that is large enough, the lowest of equals.
  std::int64_t take_smallest(std::int64_t bytes) {
    Index best = holes_.size();
    auto size = std::numeric_limits<std::int64_t>::max();
    for (Index i = 0; i < holes_.size(); ++i) {
      if (holes_[i].bytes >= bytes && holes_[i].bytes < size) best = i, size = holes_[i].bytes;
    }
    return best == holes_.size() ? grow(bytes) : take_low(best, bytes);
  }

  /// The lowest bytes of the lowest hole that is large enough.
  std::int64_t take_lowest(std::int64_t bytes) {
    for (Index i = 0; i < holes_.size(); ++i) {
      if (holes_[i].bytes >= bytes) return take_low(i, bytes);
    }
    return grow(bytes);
  }

  /// The highest bytes of the highest hole that is large enough.
  std::int64_t take_highest(std::int64_t bytes) {
    for (Index i = holes_.size(); i-- > 0;) {
      auto& hole = holes_[i];
      if (hole.bytes < bytes) continue;
      hole.bytes -= bytes;
      auto const at = hole.from + hole.bytes;
      if (hole.bytes == 0) erase(i);
      return at;
    }
    return grow(bytes);
  }

  void give(std::int64_t from, std::int64_t bytes) {
    auto const after = std::lower_bound(holes_.begin(), holes_.end(), from,
                                        [](Hole const& h, std::int64_t place) { return h.from < place; });
    bool const joins_after = after != holes_.end() && after->from == from + bytes;
    if (after != holes_.begin() && std::prev(after)->from + std::prev(after)->bytes == from) {
      std::prev(after)->bytes += bytes + (joins_after ? after->bytes : 0);
      if (joins_after) holes_.erase(after);
    } else if (joins_after) {
      after->from = from, after->bytes += bytes;
    } else {
      holes_.insert(after, {from, bytes});
    }
  }

 private:
  struct Hole {
    std::int64_t from, bytes;
  };

  void erase(Index i) { holes_.erase(holes_.begin() + static_cast<std::ptrdiff_t>(i)); }

  std::int64_t take_low(Index i, std::int64_t bytes) {
    auto& hole = holes_[i];
    auto const at = hole.from;
    hole.from += bytes, hole.bytes -= bytes;
    if (hole.bytes == 0) erase(i);
    return at;
  }

  /// Nothing fits: the end moves, from where the last hole begins if it touches the end.
  std::int64_t grow(std::int64_t bytes) {
    auto at = end_;
    if (!holes_.empty() && holes_.back().from + holes_.back().bytes == end_) {
      at = holes_.back().from;
      holes_.pop_back();
    }
    end_ = at + bytes;
    return at;
  }

  std::int64_t end_;
  std::vector<Hole> holes_;
};

struct Way {
  std::int64_t limit;    // longer lifetimes come from below
  bool smallest;         // of those from below: the smallest hole, or the lowest
  std::int64_t ceiling;  // where those from above begin
};

class Sweep {
 public:
  explicit Sweep(std::span<Lifetime const> items) : items_(items), by_end_(items.size()) {
    for (Index i = 0; i < by_end_.size(); ++i) by_end_[i] = i;
    std::stable_sort(by_end_.begin(), by_end_.end(), [&](Index a, Index b) { return items_[a].last < items_[b].last; });
  }

  /// Gives up, with `worse` bytes or more, once it is clear that this many are needed.
  Packing run(Way const& way, std::int64_t worse) const {
    Packing p{std::vector<std::int64_t>(items_.size()), 0};
    Holes holes(way.ceiling);
    Index over = 0;
    for (Index i = 0; i < items_.size(); ++i) {
      auto const& t = items_[i];
      for (; items_[by_end_[over]].last < t.first; ++over) {
        holes.give(p.offsets[by_end_[over]], items_[by_end_[over]].bytes);
      }
      bool const is_long = t.last - t.first >= way.limit;
      p.offsets[i] = !is_long       ? holes.take_highest(t.bytes)
                     : way.smallest ? holes.take_smallest(t.bytes)
                                    : holes.take_lowest(t.bytes);
      p.bytes = std::max(p.bytes, p.offsets[i] + t.bytes);
      if (p.bytes >= worse) break;
    }
    return p;
  }

 private:
  std::span<Lifetime const> items_;
  std::vector<Index> by_end_;
};

}  // namespace

Packing sweep(std::span<Lifetime const> items, std::int64_t bound) {
  std::int64_t longest = 1;
  for (auto const& t : items) longest = std::max(longest, t.last - t.first + 1);
  Sweep const pass(items);
  Packing best;
  Way best_way{0, true, bound};
  auto passes = std::clamp<std::int64_t>(most_work / std::max<std::int64_t>(1, std::ssize(items)), 4, most_passes);
  auto const is_good = [&] { return !best.offsets.empty() && best.bytes <= bound + bound / 100; };
  auto const consider = [&](Way const& way) {
    if (is_good() || passes-- <= 0) return;
    auto p = pass.run(way, best.offsets.empty() ? std::numeric_limits<std::int64_t>::max() : best.bytes);
    if (best.offsets.empty() || p.bytes < best.bytes) best = std::move(p), best_way = way;
  };
  for (bool const smallest : {true, false}) {
    for (auto limit = longest / 2; limit > 1; limit /= 4) consider({limit, smallest, bound});
  }
  auto const way = best_way;
  for (std::int64_t const part : {200, 100, 50, 33, 25})
    consider({way.limit, way.smallest, bound + aligned(bound / part)});
  for (auto const limit : {way.limit * 2, way.limit / 2}) consider({limit, way.smallest, best_way.ceiling});
  return best;
}

}  // namespace lamina::plan
