#include "plan/detail/memory.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

#include "lamina/base/philox.hpp"
#include "plan/detail/sweep.hpp"

namespace lamina::plan {
namespace {

using Index = std::size_t;
using Order = std::vector<Index>;

// Refinement ends by counting, not by the clock, so that every machine stops at the same point: tests of a pair in one
// call of `pack`, and rounds of one stretch.
constexpr std::int64_t refinement_budget = 10'000'000;
constexpr std::int64_t kinds_with_all_of_it = 24;
constexpr int refinement_rounds = 200;
constexpr std::int64_t most_pairs = 1'500'000;  // stretches with more are swept, see sweep.hpp
constexpr std::int64_t least_pairs = 20'000;    // up to so many cost nothing

/// How many pairs meet; `items` sorted by `first`.
std::int64_t count_pairs(std::span<Lifetime const> items) {
  std::int64_t pairs = 0;
  for (Index i = 0; i < items.size(); ++i) {
    auto const end = std::upper_bound(items.begin(), items.end(), items[i].last,
                                      [](std::int64_t last, Lifetime const& t) { return last < t.first; });
    pairs += end - items.begin() - static_cast<std::int64_t>(i) - 1;
  }
  return pairs;
}

/// One stretch of time: offsets by trying orders.
class Stretch {
 public:
  explicit Stretch(std::vector<Lifetime> items) : items_(std::move(items)), meets_(items_.size()) {
    for (Index i = 0; i < items_.size(); ++i) {
      for (Index j = i + 1; j < items_.size() && items_[j].first <= items_[i].last; ++j) {  // sorted by first
        meets_[i].push_back(j), meets_[j].push_back(i);
      }
    }
    pairs_ = 1;
    for (auto const& m : meets_) pairs_ += static_cast<std::int64_t>(m.size());
  }

  Packing solve(std::int64_t enough, std::int64_t& budget) {
    auto const bound = std::max(enough, live_bytes(items_));
    auto const duration = [](Lifetime const& t) { return t.last - t.first + 1; };
    Packing best;
    Order best_order;
    std::int64_t best_ceiling = 0;
    auto const consider = [&](Order const& order) {
      for (std::int64_t const ceiling : {std::int64_t{0}, bound}) {
        if (!best_order.empty() && best.bytes <= bound) return;
        auto candidate = place(order, ceiling);
        budget -= pairs_;
        if (!best_order.empty() && candidate.bytes >= best.bytes) continue;
        best = std::move(candidate), best_order = order, best_ceiling = ceiling;
      }
    };
    consider(by([&](Lifetime const& t) { return t.bytes; }));
    consider(by([&](Lifetime const& t) { return t.bytes * duration(t); }));
    consider(by([&](Lifetime const& t) { return duration(t); }));
    refine(best, best_order, best_ceiling, bound, budget);
    for (std::int64_t const part : {16, 4, 64}) {
      if (best.bytes <= bound) break;
      auto const is_large = [&](Lifetime const& t) { return t.bytes * part >= bound; };
      if (std::count_if(items_.begin(), items_.end(), is_large) > most_large) continue;
      auto candidate = place_around(bound, part);
      budget -= 2 * pairs_;
      if (candidate.bytes < best.bytes) best = std::move(candidate);
    }
    return best;
  }

 private:
  template <class Key>
  Order by(Key key) const {
    Order order(items_.size());
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return key(items_[a]) > key(items_[b]); });
    return order;
  }

  /// Each in turn into the smallest gap between its placed neighbours that holds it, else behind the last. Below a
  /// ceiling (0: none) what is left there is a gap too, filled from above: a chain in which each link meets the next,
  /// as the residual stream is, then goes to and fro between the ends and leaves the middle whole.
  Packing place(Order const& order, std::int64_t ceiling) const {
    return place(order, ceiling, {std::vector<std::int64_t>(items_.size(), -1), 0});
  }

  /// As above, around those that have an offset in `p`.
  Packing place(Order const& order, std::int64_t ceiling, Packing p) const {
    std::vector<Range> taken;
    for (Index const i : order) {
      if (p.offsets[i] >= 0) continue;
      taken.clear();
      for (Index const j : meets_[i]) {
        if (p.offsets[j] >= 0) taken.push_back({p.offsets[j], p.offsets[j] + items_[j].bytes});
      }
      std::sort(taken.begin(), taken.end());
      auto const bytes = items_[i].bytes;
      std::int64_t end = 0, at = -1, gap = 0;
      for (auto const& [from, to] : taken) {
        if (auto const hole = from - end; hole >= bytes && (at < 0 || hole < gap)) at = end, gap = hole;
        end = std::max(end, to);
      }
      if (auto const hole = ceiling - end; hole >= bytes && (at < 0 || hole < gap)) at = end > 0 ? ceiling - bytes : 0;
      p.offsets[i] = at < 0 ? end : at;
      p.bytes = std::max(p.bytes, p.offsets[i] + bytes);
    }
    return p;
  }

  /// Those of a `part`-th of the bound and more are placed first, then what meets most of them.
  Packing place_around(std::int64_t bound, std::int64_t part) const {
    auto large = place_large(items_, (bound + part - 1) / part, bound);
    std::vector<int> met(items_.size(), 0);
    for (Index i = 0; i < items_.size(); ++i) {
      if (large.offsets[i] < 0) continue;
      for (Index const j : meets_[i]) ++met[j];
    }
    auto order = by([&](Lifetime const& t) { return t.bytes; });
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return met[a] > met[b]; });
    return place(order, bound, std::move(large));
  }

  /// Random moves in the order, mostly of what reaches the peak to an earlier place, kept when they do no harm.
  void refine(Packing& best, Order order, std::int64_t ceiling, std::int64_t bound, std::int64_t& budget) const {
    for (std::uint64_t round = 0; round < refinement_rounds && best.bytes > bound && budget > pairs_; ++round) {
      auto const words = Philox::block(/*seed=*/0, 4 * round, /*step=*/0, /*operation=*/0);
      Order high;
      for (Index i = 0; i < order.size(); ++i) {
        if (best.offsets[order[i]] + items_[order[i]].bytes == best.bytes) high.push_back(i);
      }
      auto const from = words[0] % 4 != 0 ? high[words[1] % high.size()] : words[1] % order.size();
      auto const first = order.begin() + static_cast<std::ptrdiff_t>(words[2] % (from + 1));
      auto const moved = order.begin() + static_cast<std::ptrdiff_t>(from);
      std::rotate(first, moved, moved + 1);
      budget -= pairs_;
      if (auto next = place(order, ceiling); next.bytes <= best.bytes) {
        best = std::move(next);
      } else {
        std::rotate(first, first + 1, moved + 1);
      }
    }
  }

  std::vector<Lifetime> items_;
  std::vector<Order> meets_;
  std::int64_t pairs_ = 0;
};

}  // namespace

std::int64_t live_bytes(std::span<Lifetime const> items, std::int64_t unit) {
  std::vector<std::pair<std::int64_t, std::int64_t>> change;  // by time; what ends comes first
  change.reserve(2 * items.size());
  for (auto const& t : items) {
    if (t.bytes == 0) continue;
    auto const bytes = (t.bytes + unit - 1) / unit * unit;
    change.emplace_back(t.first, bytes), change.emplace_back(t.last + 1, -bytes);
  }
  std::sort(change.begin(), change.end());
  std::int64_t now = 0, most = 0;
  for (auto const& [time, bytes] : change) most = std::max(most, now += bytes);
  return most;
}

Packing pack(std::span<Lifetime const> all, std::int64_t enough, std::int64_t kinds) {
  Order order;
  for (Index i = 0; i < all.size(); ++i) {
    if (all[i].bytes > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return all[a].first < all[b].first; });

  Packing result{std::vector<std::int64_t>(all.size(), 0), 0};
  std::map<std::vector<std::array<std::int64_t, 3>>, Packing> solved;  // micro-batches look alike
  auto const part = [&](std::int64_t whole) {
    return whole * kinds_with_all_of_it / std::max(kinds, kinds_with_all_of_it);
  };
  auto budget = part(refinement_budget);
  for (Index from = 0; from < order.size();) {
    auto const start = all[order[from]].first;
    auto last = all[order[from]].last;
    std::vector<Lifetime> items;
    std::vector<std::array<std::int64_t, 3>> key;
    Index to = from;
    for (; to < order.size() && (to == from || all[order[to]].first <= last); ++to) {
      auto const& t = all[order[to]];
      last = std::max(last, t.last);
      items.push_back({aligned(t.bytes), t.first - start, t.last - start});
      key.push_back({aligned(t.bytes), t.first - start, t.last - start});
    }
    auto found = solved.find(key);
    if (found == solved.end()) {
      auto const bound = std::max(enough, live_bytes(items));
      auto packing = count_pairs(items) > std::max(part(most_pairs), least_pairs)
                         ? sweep(items, bound)
                         : Stretch(std::move(items)).solve(enough, budget);
      found = solved.emplace(std::move(key), std::move(packing)).first;
    }
    for (Index i = from; i < to; ++i) result.offsets[order[i]] = found->second.offsets[i - from];
    result.bytes = std::max(result.bytes, found->second.bytes);
    from = to;
  }
  return result;
}

void place_transients(program::Template& shape, std::int64_t base, std::int64_t kinds) {
  std::vector<std::vector<Lifetime>> uses;
  std::int64_t enough = 0;  // what some program needs in any case: the others need no better
  for (int p = 0; p < static_cast<int>(shape.programs.size()); ++p) {
    uses.push_back(lifetimes(shape, p));
    enough = std::max(enough, live_bytes(uses.back()));
  }
  auto arena = base;
  for (int p = 0; p < static_cast<int>(shape.programs.size()); ++p) {
    auto const packing = pack(uses[static_cast<Index>(p)], enough, kinds);
    for (Index b = 0; b < shape.buffers.size(); ++b) {
      if (shape.buffers[b].program == p) shape.buffers[b].offset = base + packing.offsets[b];
    }
    arena = std::max(arena, base + packing.bytes);
  }
  shape.arena_bytes[static_cast<Index>(program::Space::host)] = arena;
}

}  // namespace lamina::plan
