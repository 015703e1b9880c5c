#include "plan/detail/memory.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

namespace lamina::plan {
namespace {

using Index = std::size_t;
using Order = std::vector<Index>;

// Refinement ends by counting, not by the clock, so that every machine stops at the same point: tests of a pair in one
// call of `pack`, and rounds of one stretch.
constexpr std::int64_t refinement_budget = 100'000'000;
constexpr int refinement_rounds = 50;

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

  Packing solve(std::int64_t& budget) {
    auto const bound = live_bytes();
    auto const duration = [](Lifetime const& t) { return t.last - t.first + 1; };
    Packing best;
    Order best_order;
    auto const consider = [&](Order order) {
      auto candidate = place(order);
      budget -= pairs_;
      if (best_order.empty() || candidate.bytes < best.bytes)
        best = std::move(candidate), best_order = std::move(order);
    };
    consider(by([&](Lifetime const& t) { return t.bytes; }));
    if (best.bytes > bound) consider(by([&](Lifetime const& t) { return t.bytes * duration(t); }));
    if (best.bytes > bound) consider(by([&](Lifetime const& t) { return duration(t); }));
    refine(best, best_order, bound, budget);
    return best;
  }

 private:
  std::int64_t live_bytes() const {
    std::map<std::int64_t, std::int64_t> change;
    for (auto const& t : items_) change[t.first] += t.bytes, change[t.last + 1] -= t.bytes;
    std::int64_t now = 0, most = 0;
    for (auto const& [time, bytes] : change) most = std::max(most, now += bytes);
    return most;
  }

  template <class Key>
  Order by(Key key) const {
    Order order(items_.size());
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return key(items_[a]) > key(items_[b]); });
    return order;
  }

  /// Each in turn into the smallest gap between its placed neighbours that holds it, else behind the last.
  Packing place(Order const& order) const {
    Packing p{std::vector<std::int64_t>(items_.size(), -1), 0};
    std::vector<std::pair<std::int64_t, std::int64_t>> taken;
    for (Index const i : order) {
      taken.clear();
      for (Index const j : meets_[i]) {
        if (p.offsets[j] >= 0) taken.emplace_back(p.offsets[j], p.offsets[j] + items_[j].bytes);
      }
      std::sort(taken.begin(), taken.end());
      std::int64_t end = 0, at = -1, gap = 0;
      for (auto const& [from, to] : taken) {
        if (auto const hole = from - end; hole >= items_[i].bytes && (at < 0 || hole < gap)) at = end, gap = hole;
        end = std::max(end, to);
      }
      p.offsets[i] = at < 0 ? end : at;
      p.bytes = std::max(p.bytes, p.offsets[i] + items_[i].bytes);
    }
    return p;
  }

  /// Moves what reaches the peak to the front of the order and tries again.
  void refine(Packing& best, Order order, std::int64_t bound, std::int64_t& budget) const {
    auto current = best;
    for (int round = 0; round < refinement_rounds && best.bytes > bound && budget > pairs_; ++round) {
      std::stable_partition(order.begin(), order.end(),
                            [&](Index i) { return current.offsets[i] + items_[i].bytes == current.bytes; });
      budget -= pairs_;
      auto next = place(order);
      if (next.offsets == current.offsets) break;
      current = std::move(next);
      if (current.bytes < best.bytes) best = current;
    }
  }

  std::vector<Lifetime> items_;
  std::vector<Order> meets_;
  std::int64_t pairs_ = 0;
};

}  // namespace

Packing pack(std::span<Lifetime const> all) {
  Order order;
  for (Index i = 0; i < all.size(); ++i) {
    if (all[i].bytes > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return all[a].first < all[b].first; });

  Packing result{std::vector<std::int64_t>(all.size(), 0), 0};
  std::map<std::vector<std::array<std::int64_t, 3>>, Packing> solved;  // micro-batches look alike
  auto budget = refinement_budget;
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
    if (found == solved.end()) found = solved.emplace(key, Stretch(std::move(items)).solve(budget)).first;
    for (Index i = from; i < to; ++i) result.offsets[order[i]] = found->second.offsets[i - from];
    result.bytes = std::max(result.bytes, found->second.bytes);
    from = to;
  }
  return result;
}

void place_transients(program::Template& shape, std::int64_t base) {
  auto arena = base;
  for (int p = 0; p < static_cast<int>(shape.programs.size()); ++p) {
    auto const packing = pack(lifetimes(shape, p));
    for (Index b = 0; b < shape.buffers.size(); ++b) {
      if (shape.buffers[b].program == p) shape.buffers[b].offset = base + packing.offsets[b];
    }
    arena = std::max(arena, base + packing.bytes);
  }
  shape.arena_bytes[static_cast<Index>(program::Space::host)] = arena;
}

}  // namespace lamina::plan
