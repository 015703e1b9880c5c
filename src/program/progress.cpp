#include <numeric>
#include <set>
#include <tuple>

#include "program/detail/world.hpp"

/// Progress. There is no choice in a set of programs: collectives of a communicator and messages of an ordered pair
/// match in order, so whether everybody reaches the end does not depend on who is fast, and one play decides it.
namespace lamina::program::detail {
namespace {

/// Tries to prove progress without playing all ranks. Steps that may meet on the wire are merged over the *templates*
/// instead of the ranks; every dependency between real meetings is a dependency between merged ones, so when those
/// have no cycle the real ones have none. (The converse is false: a chain of pipeline stages that share a template
/// looks like a cycle here; then all ranks are played.)
class Quotient {
 public:
  explicit Quotient(Play const& play) : play_(play) {
    for (auto const& k : play.skeletons) {
      auto& lanes = first_.emplace_back();
      for (auto const& lane : k.lanes) {
        lanes.push_back(nodes_);
        nodes_ += lane.nodes.size();
      }
    }
    parent_.resize(nodes_);
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }

  bool has_order() {
    for (auto const& instance : play_.world.instances) merge(instance);
    return sort();
  }

 private:
  std::size_t find(std::size_t n) {
    while (parent_[n] != n) n = parent_[n] = parent_[parent_[n]];
    return n;
  }

  int shape(int rank) const { return play_.world.shape_of[static_cast<std::size_t>(rank)]; }

  /// Ids of the steps of a member's lane that a filter accepts, in order.
  template <class Filter>
  std::vector<std::size_t> select(Instance const& instance, std::size_t member, Filter const& filter) const {
    std::vector<std::size_t> out;
    auto const s = static_cast<std::size_t>(shape(instance.ranks[member]));
    auto const& k = play_.skeletons[s];
    auto const l = k.lane_of_group[static_cast<std::size_t>(instance.local[member])];
    if (l < 0) return out;
    auto const& nodes = k.lanes[static_cast<std::size_t>(l)].nodes;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (filter(nodes[i])) out.push_back(first_[s][static_cast<std::size_t>(l)] + i);
    }
    return out;
  }

  void join(std::vector<std::size_t> const& a, std::vector<std::size_t> const& b) {
    for (std::size_t i = 0; i < a.size(); ++i) parent_[find(a[i])] = find(b[i]);
  }

  void merge(Instance const& instance) {
    for (std::size_t i = 0; i < instance.ranks.size(); ++i) {
      int const own = shape(instance.ranks[i]), leader = shape(instance.ranks[0]);
      if (own != leader && merged_.insert({leader, instance.local[0], -1, own, instance.local[i], -1}).second) {
        auto const filter = [](auto const& n) { return n.collective; };
        join(select(instance, 0, filter), select(instance, i, filter));
      }
      auto const* lane = play_.of(instance.ranks[i]).lane(instance.local[i]);
      if (!lane) continue;
      std::set<int> peers;
      for (auto const& n : lane->nodes) {
        if (!n.collective && n.sends) peers.insert(n.peer);
      }
      for (int const peer : peers) {
        auto const to = static_cast<std::size_t>(peer);
        auto const key = std::tuple{
            own, instance.local[i], static_cast<int>(i), shape(instance.ranks[to]), instance.local[to], peer};
        if (!merged_.insert(key).second) continue;
        join(select(instance, i, [&](auto const& n) { return !n.collective && n.sends && n.peer == peer; }),
             select(instance, to,
                    [&](auto const& n) { return !n.collective && !n.sends && n.peer == static_cast<int>(i); }));
      }
    }
  }

  bool sort() {
    std::vector<std::vector<std::size_t>> next(nodes_);
    std::vector<int> missing(nodes_, 0);
    for (std::size_t s = 0; s < play_.skeletons.size(); ++s) {
      auto const& k = play_.skeletons[s];
      for (std::size_t l = 0; l < k.lanes.size(); ++l) {
        auto const& nodes = k.lanes[l].nodes;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
          auto const own = find(first_[s][l] + i);
          auto const edge = [&](std::size_t from) {
            next[find(from)].push_back(own);
            ++missing[own];
          };
          if (i > 0) edge(first_[s][l] + i - 1);
          for (auto const& w : nodes[i].waits) {
            edge(first_[s][static_cast<std::size_t>(w.lane)] + static_cast<std::size_t>(w.count) - 1);
          }
        }
      }
    }
    std::vector<std::size_t> ready;
    std::size_t sorted = 0, all = 0;
    for (std::size_t n = 0; n < nodes_; ++n) {
      if (find(n) != n) continue;
      ++all;
      if (missing[n] == 0) ready.push_back(n);
    }
    while (!ready.empty()) {
      auto const n = ready.back();
      ready.pop_back();
      ++sorted;
      for (auto const to : next[n]) {
        if (--missing[to] == 0) ready.push_back(to);
      }
    }
    return sorted == all;
  }

  Play const& play_;
  std::vector<std::vector<std::size_t>> first_;  // per template and lane: id of its first step
  std::size_t nodes_ = 0;
  std::vector<std::size_t> parent_;
  std::set<std::tuple<int, int, int, int, int, int>> merged_;
};

/// Plays all ranks: a communication step is posted when the steps it waits for are done; a collective is done when
/// all members have posted it, a message when both sides have.
class Table {
 public:
  Table(Play const& play, std::vector<Problem>& problems)
      : play_(play), world_(play.world), problems_(problems), posted_collectives_(world_.instances.size(), 0) {
    for (int r = 0; r < world_.size(); ++r) lanes_.emplace_back(play_.of(r).lanes.size());
  }

  void run() {
    std::vector<int> open(static_cast<std::size_t>(world_.size()));
    std::iota(open.rbegin(), open.rend(), 0);
    open_ = std::move(open);
    is_open_.assign(static_cast<std::size_t>(world_.size()), 1);
    while (!open_.empty()) {
      int const rank = open_.back();
      open_.pop_back();
      is_open_[static_cast<std::size_t>(rank)] = 0;
      visit(rank);
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
    bool posted = false;
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

  void open(int rank) {
    auto& flag = is_open_[static_cast<std::size_t>(rank)];
    if (!flag) open_.push_back(rank);
    flag = 1;
  }

  void finish(int rank, std::size_t lane) {
    auto& s = state(rank, lane);
    ++s.done;
    s.posted = false;
    open(rank);
  }

  void visit(int rank) {
    auto const lanes = play_.of(rank).lanes.size();
    for (std::size_t l = 0; l < lanes; ++l) {
      auto const* node = head(rank, l);
      if (!node || state(rank, l).posted || blocker(rank, *node)) continue;
      state(rank, l).posted = true;
      post(rank, l, *node);
    }
  }

  /// What keeps a step from being posted, or null.
  Skeleton::Wait const* blocker(int rank, Skeleton::Node const& node) {
    for (auto const& w : node.waits) {
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
  std::vector<std::vector<LaneState>> lanes_;  // per rank
  std::vector<int> posted_collectives_;        // per communicator
  std::vector<int> open_;                      // ranks to look at
  std::vector<char> is_open_;
};

}  // namespace

void check_progress(Play const& play, std::vector<Problem>& problems) {
  if (!Quotient(play).has_order()) Table(play, problems).run();
}

}  // namespace lamina::program::detail
