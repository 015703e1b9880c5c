#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "program/detail/world.hpp"

/// Progress. There is no choice in a set of programs: collectives of a communicator and messages of an ordered pair
/// match in order, so whether everybody reaches the end does not depend on who is fast, and one play decides it.
namespace lamina::program::detail {
namespace {

/// Ranks sorted into classes, so that one rank of a class can stand for all: first by template, then, round by round,
/// by the classes that each of their groups has (colour refinement). Replicas stay together; the stages of a pipeline
/// that share a template come apart, from its ends inwards.
class Classes {
 public:
  explicit Classes(World const& world) : world_(world), class_of_(world.shape_of), count_(count()) {}

  int of(int rank) const { return class_of_[static_cast<std::size_t>(rank)]; }
  /// True when there are more classes now.
  bool refine() {
    std::vector<std::vector<int>> of_instance;
    for (auto const& instance : world_.instances) {
      auto& list = of_instance.emplace_back();
      for (int const r : instance.ranks) list.push_back(of(r));
      std::ranges::sort(list);
      list.erase(std::unique(list.begin(), list.end()), list.end());
    }
    std::map<std::vector<int>, int> known;
    std::vector<int> next;
    for (int r = 0; r < world_.size(); ++r) {
      std::vector<int> key{of(r)};
      for (int const id : world_.instance_of[static_cast<std::size_t>(r)]) {
        auto const& list = of_instance[static_cast<std::size_t>(id)];
        key.push_back(-1);
        key.insert(key.end(), list.begin(), list.end());
      }
      next.push_back(known.try_emplace(std::move(key), static_cast<int>(known.size())).first->second);
    }
    class_of_ = std::move(next);
    return std::exchange(count_, count()) < count();
  }
  /// A rank of each class.
  std::vector<int> examples() const {
    std::vector<int> out(static_cast<std::size_t>(count_), -1);
    for (int r = world_.size() - 1; r >= 0; --r) out[static_cast<std::size_t>(of(r))] = r;
    return out;
  }

 private:
  int count() const { return class_of_.empty() ? 0 : *std::ranges::max_element(class_of_) + 1; }

  World const& world_;
  std::vector<int> class_of_;
  int count_;
};

/// Tries to prove progress without playing all ranks. Steps that may meet on the wire are merged over *classes* of
/// ranks instead of the ranks; every dependency between real meetings is a dependency between merged ones, so when
/// those have no cycle the real ones have none. (The converse is false: ranks that share a class may be a chain that
/// looks like a cycle here; then finer classes are tried, and in the end all ranks are played.)
class Quotient {
 public:
  Quotient(Play const& play, Classes const& classes) : play_(play), classes_(classes), examples_(classes.examples()) {
    for (int const rank : examples_) {
      auto& lanes = first_.emplace_back();
      for (auto const& lane : play_.of(rank).lanes) {
        lanes.push_back(nodes_);
        nodes_ += lane.nodes.size();
      }
    }
  }

  /// Whether proving it this way is worth it.
  bool is_small() const { return nodes_ <= most_nodes; }

  bool has_order() {
    parent_.resize(nodes_);
    std::iota(parent_.begin(), parent_.end(), Id{0});
    for (auto const& instance : play_.world.instances) merge(instance);
    return sort();
  }

 private:
  using Id = std::uint32_t;
  static constexpr std::size_t most_nodes = std::size_t{1} << 23;

  Id find(Id n) {
    while (parent_[n] != n) n = parent_[n] = parent_[parent_[n]];
    return n;
  }

  /// Ids of the steps of a member's lane that a filter accepts, in order.
  template <class Filter>
  std::vector<Id> select(Instance const& instance, std::size_t member, Filter const& filter) const {
    std::vector<Id> out;
    int const rank = instance.ranks[member];
    auto const& k = play_.of(rank);
    auto const l = k.lane_of_group[static_cast<std::size_t>(instance.local[member])];
    if (l < 0) return out;
    auto const& nodes = k.lanes[static_cast<std::size_t>(l)].nodes;
    auto const first = first_[static_cast<std::size_t>(classes_.of(rank))][static_cast<std::size_t>(l)];
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (filter(nodes[i])) out.push_back(static_cast<Id>(first + i));
    }
    return out;
  }

  void join(std::vector<Id> const& a, std::vector<Id> const& b) {
    for (std::size_t i = 0; i < a.size(); ++i) parent_[find(a[i])] = find(b[i]);
  }

  void merge(Instance const& instance) {
    int const leader = classes_.of(instance.ranks[0]);
    for (std::size_t i = 0; i < instance.ranks.size(); ++i) {
      int const own = classes_.of(instance.ranks[i]);
      if (own != leader && merged_.insert({leader, instance.local[0], -1, own, instance.local[i], -1}).second) {
        auto const filter = [](auto const& n) { return n.collective; };
        join(select(instance, 0, filter), select(instance, i, filter));
      }
      auto const* lane = play_.of(instance.ranks[i]).lane(instance.local[i]);
      if (!lane) continue;
      for (auto const& partner : lane->partners) {
        int const peer = partner.first;
        if (!partner.second) continue;
        auto const to = static_cast<std::size_t>(peer);
        auto const key = std::tuple{
            own, instance.local[i], static_cast<int>(i), classes_.of(instance.ranks[to]), instance.local[to], peer};
        if (!merged_.insert(key).second) continue;
        join(select(instance, i, [&](auto const& n) { return !n.collective && n.sends && n.peer == peer; }),
             select(instance, to,
                    [&](auto const& n) { return !n.collective && !n.sends && n.peer == static_cast<int>(i); }));
      }
    }
  }

  /// Calls f(from, to) for every dependency between merged steps.
  template <class F>
  void for_each_edge(F const& f) {
    for (std::size_t c = 0; c < examples_.size(); ++c) {
      auto const& k = play_.of(examples_[c]);
      for (std::size_t l = 0; l < k.lanes.size(); ++l) {
        auto const& nodes = k.lanes[l].nodes;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
          auto const own = find(static_cast<Id>(first_[c][l] + i));
          if (i > 0) f(find(static_cast<Id>(first_[c][l] + i - 1)), own);
          for (auto const& w : k.waits_of(nodes[i])) {
            auto const lane = static_cast<std::size_t>(w.lane);
            f(find(static_cast<Id>(first_[c][lane] + static_cast<std::size_t>(w.count) - 1)), own);
          }
        }
      }
    }
  }

  /// Kahn's topological sort, edges in one array.
  bool sort() {
    std::vector<Id> begin(nodes_ + 1, 0), missing(nodes_, 0);
    for_each_edge([&](Id from, Id to) { ++begin[from + 1], ++missing[to]; });
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    std::vector<Id> next(begin.back()), at(begin.begin(), begin.end() - 1);
    for_each_edge([&](Id from, Id to) { next[at[from]++] = to; });
    std::vector<Id> ready;
    std::size_t sorted = 0, all = 0;
    for (Id n = 0; n < nodes_; ++n) {
      if (find(n) != n) continue;
      ++all;
      if (missing[n] == 0) ready.push_back(n);
    }
    while (!ready.empty()) {
      auto const n = ready.back();
      ready.pop_back();
      ++sorted;
      for (auto i = begin[n]; i < begin[n + 1]; ++i) {
        if (--missing[next[i]] == 0) ready.push_back(next[i]);
      }
    }
    return sorted == all;
  }

  Play const& play_;
  Classes const& classes_;
  std::vector<int> examples_;                    // per class: a rank
  std::vector<std::vector<std::size_t>> first_;  // per class and lane: id of its first step
  std::size_t nodes_ = 0;
  std::vector<Id> parent_;
  std::set<std::tuple<int, int, int, int, int, int>> merged_;
};

bool has_order(Play const& play) {
  constexpr int most_rounds = 64;
  Classes classes(play.world);
  for (int round = 0; round < most_rounds; ++round) {
    // Coarse classes are cheap and usually enough; after that only the finest ones that can be had.
    if (round == 0) {
      Quotient quotient(play, classes);
      if (quotient.is_small() && quotient.has_order()) return true;
    }
    if (!classes.refine()) break;
  }
  Quotient finest(play, classes);
  return finest.is_small() && finest.has_order();
}

/// Plays all ranks: a communication step is posted when the steps it waits for are done; a collective is done when
/// all members have posted it, a message when both sides have.
class Table {
 public:
  Table(Play const& play, std::vector<Problem>& problems)
      : play_(play), world_(play.world), problems_(problems), posted_collectives_(world_.instances.size(), 0) {
    for (int r = 0; r < world_.size(); ++r) {
      lanes_.emplace_back(play_.of(r).lanes.size());
      for (auto& lane : lanes_.back()) lane.is_open = true;
    }
  }

  void run() {
    for (int r = world_.size() - 1; r >= 0; --r) {
      for (std::size_t l = play_.of(r).lanes.size(); l-- > 0;) open_.emplace_back(r, l);
    }
    while (!open_.empty()) {
      auto const [rank, lane] = open_.back();
      open_.pop_back();
      state(rank, lane).is_open = false;
      visit(rank, lane);
    }
    for (int r = 0; r < world_.size(); ++r) {
      for (std::size_t l = 0; l < play_.of(r).lanes.size(); ++l) {
        if (head(r, l)) return explain(r, l);
      }
    }
  }

 private:
  struct LaneState {
    int done = 0;
    bool posted = false, is_open = false;
    std::vector<std::size_t> waiting{};  // lanes of the rank whose heads wait for this one
  };
  LaneState& state(int rank, std::size_t lane) { return lanes_[static_cast<std::size_t>(rank)][lane]; }

  Skeleton::Node const* head(int rank, std::size_t lane) {
    auto const& nodes = play_.of(rank).lanes[lane].nodes;
    auto const at = static_cast<std::size_t>(state(rank, lane).done);
    return at < nodes.size() ? &nodes[at] : nullptr;
  }

  int instance(int rank, std::size_t lane) const {
    auto const group = static_cast<std::size_t>(play_.of(rank).lanes[lane].group);
    return world_.instance_of[static_cast<std::size_t>(rank)][group];
  }
  int index(int rank, std::size_t lane) const {
    auto const group = static_cast<std::size_t>(play_.of(rank).lanes[lane].group);
    return world_.index_of[static_cast<std::size_t>(rank)][group];
  }
  /// Lane of a communicator at one of its members.
  std::size_t lane_at(Instance const& i, std::size_t member) const {
    auto const& k = play_.of(i.ranks[member]);
    return static_cast<std::size_t>(k.lane_of_group[static_cast<std::size_t>(i.local[member])]);
  }

  void open(int rank, std::size_t lane) {
    auto& s = state(rank, lane);
    if (!s.is_open) open_.emplace_back(rank, lane);
    s.is_open = true;
  }

  void finish(int rank, std::size_t lane) {
    auto& s = state(rank, lane);
    ++s.done;
    s.posted = false;
    open(rank, lane);
    for (auto const other : s.waiting) open(rank, other);
    s.waiting.clear();
  }

  void visit(int rank, std::size_t lane) {
    auto const* node = head(rank, lane);
    if (!node || state(rank, lane).posted) return;
    if (auto const* wait = blocker(rank, *node)) {
      state(rank, static_cast<std::size_t>(wait->lane)).waiting.push_back(lane);
      return;
    }
    state(rank, lane).posted = true;
    post(rank, lane, *node);
  }

  /// What keeps a step from being posted, or null.
  Skeleton::Wait const* blocker(int rank, Skeleton::Node const& node) {
    for (auto const& w : play_.of(rank).waits_of(node)) {
      if (state(rank, static_cast<std::size_t>(w.lane)).done < w.count) return &w;
    }
    return nullptr;
  }

  void post(int rank, std::size_t lane, Skeleton::Node const& node) {
    auto const id = static_cast<std::size_t>(instance(rank, lane));
    auto const& i = world_.instances[id];
    if (node.collective) {
      if (++posted_collectives_[id] < static_cast<int>(i.ranks.size())) return;
      posted_collectives_[id] = 0;
      for (std::size_t m = 0; m < i.ranks.size(); ++m) finish(i.ranks[m], lane_at(i, m));
    } else if (auto const partner = static_cast<std::size_t>(node.peer); meets(rank, lane, node, i, partner)) {
      finish(rank, lane);
      finish(i.ranks[partner], lane_at(i, partner));
    }
  }

  /// The partner of a message has posted the other side of it.
  bool meets(int rank, std::size_t lane, Skeleton::Node const& node, Instance const& i, std::size_t partner) {
    int const other_rank = i.ranks[partner];
    auto const other_lane = lane_at(i, partner);
    auto const* other = head(other_rank, other_lane);
    return other && state(other_rank, other_lane).posted && !other->collective && other->sends != node.sends &&
           other->peer == index(rank, lane);
  }

  /// Walks from a step that cannot finish to what it waits for until a step comes back: that is the cycle.
  void explain(int rank, std::size_t lane) {
    std::map<std::pair<int, std::size_t>, std::size_t> seen;
    std::vector<std::string> hops;
    std::vector<std::pair<int, int>> places;  // rank and step of each hop
    auto const name = [&](int r, int step) { return describe_step(*play_.of(r).program, step); };
    for (;;) {
      auto const [at, is_new] = seen.try_emplace({rank, lane}, hops.size());
      if (!is_new) {
        auto const start = static_cast<std::ptrdiff_t>(at->second);
        return report({hops.begin() + start, hops.end()}, places[at->second]);
      }
      auto const* node = head(rank, lane);
      if (!node) return report(hops, places.front());
      places.emplace_back(rank, node->step);
      if (auto const* wait = state(rank, lane).posted ? nullptr : blocker(rank, *node)) {
        auto const next = static_cast<std::size_t>(wait->lane);
        auto const& nodes = play_.of(rank).lanes[next].nodes;
        auto hop = text("rank ", rank, " cannot start ", name(rank, node->step), " before its own ",
                        name(rank, nodes[static_cast<std::size_t>(wait->count) - 1].step));
        if (wait->count - 1 > state(rank, next).done) hop += text(", which is behind step ", head(rank, next)->step);
        hops.push_back(std::move(hop));
        lane = next;
        continue;
      }
      auto const& i = world_.instances[static_cast<std::size_t>(instance(rank, lane))];
      auto partner = static_cast<std::size_t>(node->peer);
      if (node->collective) {
        for (partner = 0; partner + 1 < i.ranks.size(); ++partner) {
          auto const* other = head(i.ranks[partner], lane_at(i, partner));
          if (!other || !other->collective || !state(i.ranks[partner], lane_at(i, partner)).posted) break;
        }
      }
      hops.push_back(text("rank ", rank, " waits in ", name(rank, node->step), " for rank ", i.ranks[partner]));
      rank = i.ranks[partner];
      lane = lane_at(i, partner);
    }
  }

  void report(std::vector<std::string> hops, std::pair<int, int> place) {
    constexpr std::size_t most = 24;
    auto const all = hops.size();
    if (all > most) hops.resize(most), hops.push_back(text(all - most, " more"));
    problems_.push_back({"deadlock", place.first, std::string(play_.name), place.second,
                         text("program '", play_.name, "': nobody can go on: ", join(hops, "; "))});
  }

  Play const& play_;
  World const& world_;
  std::vector<Problem>& problems_;
  std::vector<std::vector<LaneState>> lanes_;      // per rank
  std::vector<int> posted_collectives_;            // per communicator
  std::vector<std::pair<int, std::size_t>> open_;  // rank and lane of heads to look at
};

}  // namespace

void check_progress(Play const& play, std::vector<Problem>& problems) {
  if (!has_order(play)) Table(play, problems).run();
}

}  // namespace lamina::program::detail
