#include "plan/detail/sweep.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace lamina::plan {
namespace {

using Index = std::size_t;
constexpr std::int64_t most_work = 1'600'000;  // items placed in one call, over all passes
constexpr int most_passes = 40;

/// The free bytes below a ceiling, by place and by size.
class Holes {
 public:
  explicit Holes(std::int64_t ceiling) : end_(ceiling) { add(0, ceiling); }
  std::int64_t end() const { return end_; }

  /// The lowest bytes of the smallest hole that is large enough.
  std::int64_t take_smallest(std::int64_t bytes) {
    auto const hole = by_size_.lower_bound({bytes, 0});
    if (hole == by_size_.end()) return grow(bytes);
    auto const [size, from] = *hole;
    remove(from, size);
    add(from + bytes, size - bytes);
    return from;
  }

  /// The lowest bytes of the lowest hole that is large enough.
  std::int64_t take_lowest(std::int64_t bytes) {
    for (auto const& [from, size] : by_place_) {
      if (size >= bytes) return take(from, size, from, bytes);
    }
    return grow(bytes);
  }

  /// The highest bytes of the highest hole that is large enough.
  std::int64_t take_highest(std::int64_t bytes) {
    for (auto hole = by_place_.rbegin(); hole != by_place_.rend(); ++hole) {
      auto const [from, size] = *hole;
      if (size >= bytes) return take(from, size, from + size - bytes, bytes);
    }
    return grow(bytes);
  }

  void give(std::int64_t from, std::int64_t bytes) {
    auto const next = by_place_.lower_bound(from);
    if (next != by_place_.begin()) {
      auto const [start, size] = *std::prev(next);
      if (start + size == from) remove(start, size), from = start, bytes += size;
    }
    if (auto const after = by_place_.find(from + bytes); after != by_place_.end()) {
      auto const [start, size] = *after;
      remove(start, size), bytes += size;
    }
    add(from, bytes);
  }

 private:
  void add(std::int64_t from, std::int64_t bytes) {
    if (bytes > 0) by_place_.emplace(from, bytes), by_size_.emplace(bytes, from);
  }
  void remove(std::int64_t from, std::int64_t bytes) { by_place_.erase(from), by_size_.erase({bytes, from}); }

  std::int64_t take(std::int64_t from, std::int64_t size, std::int64_t at, std::int64_t bytes) {
    remove(from, size);
    add(from, at - from);
    add(at + bytes, from + size - at - bytes);
    return at;
  }

  /// Nothing fits: the end moves, from where the last hole begins if it touches the end.
  std::int64_t grow(std::int64_t bytes) {
    auto at = end_;
    if (!by_place_.empty()) {
      auto const [from, size] = *by_place_.rbegin();
      if (from + size == end_) remove(from, size), at = from;
    }
    end_ = at + bytes;
    return at;
  }

  std::int64_t end_;
  std::map<std::int64_t, std::int64_t> by_place_;            // from -> bytes
  std::set<std::pair<std::int64_t, std::int64_t>> by_size_;  // bytes, from
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

  Packing run(Way const& way) const {
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
    auto p = pass.run(way);
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
