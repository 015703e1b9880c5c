#include "plan/detail/sweep.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>
#include <vector>

namespace lamina::plan {
namespace {

using Index = std::size_t;
constexpr std::int64_t most_work = 2'400'000;  // items placed in one call, over all passes
constexpr int most_passes = 48, last_passes = 7;

/// The free bytes below a ceiling: holes in the order of their place. They are few, and lie together in memory.
class Holes {
 public:
  explicit Holes(std::int64_t ceiling) : end_(ceiling) {
    if (ceiling > 0) holes_.push_back({0, ceiling});
  }

  enum class Choice : std::uint8_t { smallest, lowest, highest };

  /// Bytes outside of `closed` (in order, apart from each other): the low end of the smallest hole that holds them, the
  /// lowest of equals; or of the lowest; or the high end of the highest.
  std::int64_t take(std::int64_t bytes, Choice choice, std::span<Range const> closed) {
    std::int64_t at = -1, size = std::numeric_limits<std::int64_t>::max();
    auto next = closed.begin();
    for (auto const& hole : holes_) {
      for (auto from = hole.from; from < hole.to;) {
        while (next != closed.end() && next->to <= from) ++next;
        auto const to = next == closed.end() ? hole.to : std::clamp(next->from, from, hole.to);
        if (to - from >= bytes && (choice == Choice::highest || to - from < size)) {
          at = choice == Choice::highest ? to - bytes : from;
          size = choice == Choice::smallest ? to - from : 0;
        }
        if (to == hole.to) break;
        from = next->to;
      }
    }
    if (at < 0) return grow(bytes, closed);
    remove(at, at + bytes);
    return at;
  }

  void give(std::int64_t from, std::int64_t bytes) {
    auto const after = first_behind(from);
    bool const joins_after = after != holes_.end() && after->from == from + bytes;
    if (after != holes_.begin() && std::prev(after)->to == from) {
      std::prev(after)->to += bytes + (joins_after ? after->to - after->from : 0);
      if (joins_after) holes_.erase(after);
    } else if (joins_after) {
      after->from = from;
    } else {
      holes_.insert(after, {from, from + bytes});
    }
  }

 private:
  std::vector<Range>::iterator first_behind(std::int64_t place) {
    return std::lower_bound(holes_.begin(), holes_.end(), place,
                            [](Range const& h, std::int64_t at) { return h.from < at; });
  }

  /// [from, to) lies within one hole.
  void remove(std::int64_t from, std::int64_t to) {
    auto const hole = std::prev(first_behind(from + 1));
    auto const behind = Range{to, hole->to};
    hole->to = from;
    bool const empty = hole->from == hole->to;
    if (behind.from == behind.to) {
      if (empty) holes_.erase(hole);
    } else if (empty) {
      *hole = behind;
    } else {
      holes_.insert(std::next(hole), behind);
    }
  }

  /// Nothing fits: the end moves, from where the last hole begins if it touches the end and nothing there is closed.
  std::int64_t grow(std::int64_t bytes, std::span<Range const> closed) {
    auto at = end_;
    if (!holes_.empty() && holes_.back().to == end_) at = holes_.back().from;
    if (!closed.empty()) at = std::max(at, closed.back().to);
    auto const end = at + bytes;
    if (end > end_) give(end_, end - end_);
    end_ = std::max(end_, end);
    remove(at, end);
    return at;
  }

  std::int64_t end_;
  std::vector<Range> holes_;
};

struct Way {
  std::int64_t limit;      // longer lifetimes come from below
  bool smallest;           // of those from below: the smallest hole, or the lowest
  std::int64_t ceiling;    // where those from above begin
  std::int64_t large = 0;  // what has as many bytes is placed before all others; 0: nothing
};

class Sweep {
 public:
  explicit Sweep(std::span<Lifetime const> items) : items_(items), by_end_(items.size()) {
    for (Index i = 0; i < by_end_.size(); ++i) by_end_[i] = i;
    std::stable_sort(by_end_.begin(), by_end_.end(), [&](Index a, Index b) { return items_[a].last < items_[b].last; });
  }

  /// Gives up, with `worse` bytes or more, once it is clear that this many are needed.
  Packing run(Way const& way, std::int64_t worse) {
    Packing p{std::vector<std::int64_t>(items_.size(), -1), 0};
    auto const& large = large_ones(way);
    for (Index const i : large.items) p.offsets[i] = large.placed.offsets[i];
    p.bytes = large.placed.bytes;
    Holes holes(std::max(way.ceiling, p.bytes));
    Index over = 0;
    std::vector<Range> closed;
    for (Index i = 0; i < items_.size() && p.bytes < worse; ++i) {
      auto const& t = items_[i];
      if (is_large(t, way)) continue;
      for (; items_[by_end_[over]].last < t.first; ++over) {
        auto const& ended = items_[by_end_[over]];
        if (!is_large(ended, way)) holes.give(p.offsets[by_end_[over]], ended.bytes);
      }
      using enum Holes::Choice;
      auto const choice = t.last - t.first < way.limit ? highest : way.smallest ? smallest : lowest;
      close(large, t, p, closed);
      p.offsets[i] = holes.take(t.bytes, choice, closed);
      p.bytes = std::max(p.bytes, p.offsets[i] + t.bytes);
    }
    return p;
  }

 private:
  static bool is_large(Lifetime const& t, Way const& way) { return way.large > 0 && t.bytes >= way.large; }

  struct Large {
    Packing placed;
    std::vector<Index> items;  // by their first use, as all are
    std::int64_t longest = 0;
  };

  Large const& large_ones(Way const& way) {
    auto const [at, is_new] = large_.try_emplace({way.large, way.large > 0 ? way.ceiling : 0});
    auto& large = at->second;
    if (!is_new || way.large == 0) return large;
    large.placed = place_large(items_, way.large, way.ceiling);
    for (Index i = 0; i < items_.size(); ++i) {
      if (large.placed.offsets[i] < 0) continue;
      large.items.push_back(i);
      large.longest = std::max(large.longest, items_[i].last - items_[i].first);
    }
    return large;
  }

  /// What the large ones take while `t` lives, in order.
  void close(Large const& large, Lifetime const& t, Packing const& p, std::vector<Range>& closed) const {
    closed.clear();
    auto at = std::lower_bound(large.items.begin(), large.items.end(), t.first - large.longest,
                               [&](Index i, std::int64_t first) { return items_[i].first < first; });
    for (; at != large.items.end() && items_[*at].first <= t.last; ++at) {
      if (meet(items_[*at], t)) closed.push_back({p.offsets[*at], p.offsets[*at] + items_[*at].bytes});
    }
    std::sort(closed.begin(), closed.end());
    Index kept = 0;
    for (Index i = 0; i < closed.size(); ++i) {
      if (kept > 0 && closed[i].from <= closed[kept - 1].to) {
        closed[kept - 1].to = std::max(closed[kept - 1].to, closed[i].to);
      } else {
        closed[kept++] = closed[i];
      }
    }
    closed.resize(kept);
  }

  std::span<Lifetime const> items_;
  std::vector<Index> by_end_;
  std::map<std::pair<std::int64_t, std::int64_t>, Large> large_;  // by least size and ceiling
};

/// Whether less than half of what lives beside one of two items, in bytes, lives beside the other as well.
bool neighbours_change(std::span<Lifetime const> items, Index first, Index second) {
  auto const &a = items[first], &b = items[second];
  if (meet(a, b)) return false;
  std::int64_t both = 0, of_a = 0, of_b = 0;
  for (Index i = 0; i < items.size() && items[i].first <= b.last; ++i) {
    if (i == first || i == second) continue;
    auto const bytes = items[i].bytes, with_a = meet(items[i], a) ? bytes : 0;
    of_a += with_a;
    if (meet(items[i], b)) of_b += bytes, both += with_a;
  }
  return 2 * both < std::min(of_a, of_b);
}

}  // namespace

Packing place_large(std::span<Lifetime const> items, std::int64_t least, std::int64_t ceiling) {
  Packing p{std::vector<std::int64_t>(items.size(), -1), 0};
  std::vector<Index> placed;
  std::vector<Range> taken;
  bool high = true;
  for (Index i = 0; i < items.size(); ++i) {
    auto const& t = items[i];
    if (t.bytes < least) continue;
    taken.clear();
    for (Index const j : placed) {
      if (meet(t, items[j])) taken.push_back({p.offsets[j], p.offsets[j] + items[j].bytes});
    }
    std::sort(taken.begin(), taken.end());
    if (!placed.empty() && neighbours_change(items, placed.back(), i)) high = !high;
    auto at = high ? ceiling : 0;
    if (high) {
      for (auto r = taken.rbegin(); r != taken.rend() && at - r->to < t.bytes; ++r) at = std::min(at, r->from);
      at -= t.bytes;
    } else {
      for (auto r = taken.begin(); r != taken.end() && r->from - at < t.bytes; ++r) at = std::max(at, r->to);
    }
    if (at < 0) at = taken.empty() ? 0 : taken.back().to;
    p.offsets[i] = at;
    p.bytes = std::max(p.bytes, at + t.bytes);
    placed.push_back(i);
  }
  return p;
}

Packing sweep(std::span<Lifetime const> items, std::int64_t bound) {
  std::int64_t longest = 1;
  for (auto const& t : items) longest = std::max(longest, t.last - t.first + 1);
  Sweep pass(items);
  Packing best;
  Way best_way{0, true, bound};
  auto passes =
      std::clamp<std::int64_t>(most_work / std::max<std::int64_t>(1, std::ssize(items)), last_passes + 4, most_passes);
  auto const is_good = [&] { return !best.offsets.empty() && best.bytes <= bound + bound / 100; };
  auto const consider = [&](Way const& way) {
    if (is_good() || passes-- <= 0) return;
    auto p = pass.run(way, best.offsets.empty() ? std::numeric_limits<std::int64_t>::max() : best.bytes);
    if (best.offsets.empty() || p.bytes < best.bytes) best = std::move(p), best_way = way;
  };
  for (std::int64_t const part : {0, 16, 64, 8}) {
    auto const is_large = [&](Lifetime const& t) { return part > 0 && t.bytes >= bound / part; };
    if (std::count_if(items.begin(), items.end(), is_large) > most_large) continue;
    for (bool const smallest : {true, false}) {
      for (auto limit = longest / 2; limit > 1 && passes > last_passes; limit /= part == 0 ? 4 : 64) {
        consider({limit, smallest, bound, part == 0 ? 0 : bound / part});
      }
    }
  }
  auto const way = best_way;
  for (std::int64_t const part : {200, 100, 50, 33, 25})
    consider({way.limit, way.smallest, bound + aligned(bound / part), way.large});
  for (auto const limit : {way.limit * 2, way.limit / 2}) consider({limit, way.smallest, best_way.ceiling, way.large});
  return best;
}

}  // namespace lamina::plan
