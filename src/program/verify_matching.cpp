#include <algorithm>
#include <set>
#include <tuple>

#include "program/detail/world.hpp"

namespace lamina::program::detail {
namespace {

using Nodes = std::vector<Skeleton::Node const*>;

class MatchCheck {
 public:
  MatchCheck(Play const& play, std::vector<Problem>& problems) : play_(play), world_(play.world), problems_(problems) {}

  bool run() {
    for (auto const& instance : world_.instances) {
      collectives(instance);
      messages(instance);
    }
    if (sound_) issue_order();
    return sound_;
  }

 private:
  int shape(int rank) const { return world_.shape_of[static_cast<std::size_t>(rank)]; }

  template <class... Ts>
  void wrong(std::string_view rule, int rank, int step, Ts const&... message) {
    sound_ = false;
    problems_.push_back(
        {std::string(rule), rank, std::string(play_.name), step, text("program '", play_.name, "': ", message...)});
  }

  /// "rank 3 step 12 (...): all_reduce sum f32 x 100", or "rank 3 has no more".
  std::string describe(int rank, Nodes const& nodes, std::size_t k) const {
    if (k >= nodes.size()) return text("rank ", rank, " has no more after ", nodes.size());
    auto const& skeleton = play_.of(rank);
    return text("rank ", rank, " has ", describe_step(*skeleton.program, nodes[k]->step), ": ",
                describe_match(*skeleton.shape, skeleton.step(*nodes[k])));
  }

  static int step_of(Nodes const& a, std::size_t k) { return k < a.size() ? a[k]->step : -1; }

  template <class Filter>
  Nodes select(int rank, int group, Filter const& filter) const {
    Nodes out;
    if (auto const* lane = play_.of(rank).lane(group)) {
      for (auto const& n : lane->nodes) {
        if (filter(n)) out.push_back(&n);
      }
    }
    return out;
  }

  /// First place where the sequences of two ranks differ, or nothing.
  std::optional<std::size_t> difference(int rank_a, Nodes const& a, int rank_b, Nodes const& b) const {
    auto const &of_a = play_.of(rank_a), &of_b = play_.of(rank_b);
    for (std::size_t k = 0; k < std::max(a.size(), b.size()); ++k) {
      if (k >= a.size() || k >= b.size()) return k;
      if (!fit_together(*of_a.shape, of_a.step(*a[k]), *of_b.shape, of_b.step(*b[k]))) return k;
    }
    return std::nullopt;
  }

  void collectives(Instance const& instance) {
    int const leader = instance.ranks[0];
    for (std::size_t i = 1; i < instance.ranks.size(); ++i) {
      int const rank = instance.ranks[i];
      if (shape(rank) == shape(leader)) continue;  // the same steps in the same group
      if (!compared_.insert({shape(leader), instance.local[0], -1, shape(rank), instance.local[i], -1}).second)
        continue;
      auto const is_collective = [](auto const& n) { return n.collective; };
      auto const a = select(leader, instance.local[0], is_collective);
      auto const b = select(rank, instance.local[i], is_collective);
      auto const k = difference(leader, a, rank, b);
      if (!k) continue;
      wrong("collective", leader, step_of(a, *k), "collective ", *k, " of group '", instance.name, "' (ranks ",
            describe_ranks(instance.ranks), ") differs: ", describe(leader, a, *k), "; ", describe(rank, b, *k));
    }
  }

  void messages(Instance const& instance) {
    for (std::size_t i = 0; i < instance.ranks.size(); ++i) {
      auto const* lane = play_.of(instance.ranks[i]).lane(instance.local[i]);
      if (!lane) continue;
      // Both directions from here: a receive that nobody sends to is seen from its own side only.
      for (auto const& [peer, sends] : lane->partners) {
        auto const p = static_cast<std::size_t>(peer);
        sends ? message_pair(instance, i, p) : message_pair(instance, p, i);
      }
    }
  }

  void message_pair(Instance const& instance, std::size_t from, std::size_t to) {
    int const sender = instance.ranks[from], receiver = instance.ranks[to];
    auto const key = std::tuple{shape(sender),   instance.local[from], static_cast<int>(from),
                                shape(receiver), instance.local[to],   static_cast<int>(to)};
    if (!compared_.insert(key).second) return;
    auto const a = select(sender, instance.local[from],
                          [&](auto const& n) { return !n.collective && n.sends && n.peer == static_cast<int>(to); });
    auto const b = select(receiver, instance.local[to],
                          [&](auto const& n) { return !n.collective && !n.sends && n.peer == static_cast<int>(from); });
    auto const k = difference(sender, a, receiver, b);
    if (!k) return;
    bool const from_sender = *k < a.size();
    wrong("message", from_sender ? sender : receiver, from_sender ? a[*k]->step : b[*k]->step, "message ", *k,
          " from rank ", sender, " to rank ", receiver, " over group '", instance.name,
          "' differs: ", describe(sender, a, *k), "; ", describe(receiver, b, *k));
  }

  /// NCCL runs collectives of one device in the order of their launch, so two communicators must not cross.
  void issue_order() {
    if (world_.shapes.size() < 2) return;
    std::map<int, std::vector<std::pair<int, int>>> common;  // other rank -> (my group, its group)
    std::set<std::tuple<int, int, std::vector<std::pair<int, int>>>> known;
    for (int a = 0; a < world_.size(); ++a) {
      common.clear();
      for (int const id : world_.instance_of[static_cast<std::size_t>(a)]) {
        auto const& instance = world_.instances[static_cast<std::size_t>(id)];
        if (instance.transport != Transport::nccl) continue;
        auto const mine =
            instance.local[static_cast<std::size_t>(std::ranges::find(instance.ranks, a) - instance.ranks.begin())];
        for (std::size_t i = 0; i < instance.ranks.size(); ++i) {
          int const b = instance.ranks[i];
          if (b > a && shape(a) != shape(b)) common[b].emplace_back(mine, instance.local[i]);
        }
      }
      for (auto const& [b, groups] : common) {
        if (groups.size() > 1 && known.insert({shape(a), shape(b), groups}).second) compare_order(a, b, groups);
      }
    }
  }

  void compare_order(int a, int b, std::vector<std::pair<int, int>> const& groups) {
    struct Issue {
      int pair;
      int step;
    };
    auto const sequence = [&](int rank, auto const member) {
      std::vector<Issue> out;
      auto const& k = play_.of(rank);
      std::vector<std::size_t> next(k.lanes.size(), 0);
      for (int const group : k.collectives) {
        auto const l = static_cast<std::size_t>(k.lane_of_group[static_cast<std::size_t>(group)]);
        while (!k.lanes[l].nodes[next[l]].collective) ++next[l];
        int const step = k.lanes[l].nodes[next[l]++].step;
        auto const at = std::ranges::find(groups, group, member);
        if (at != groups.end()) out.push_back({static_cast<int>(at - groups.begin()), step});
      }
      return out;
    };
    auto const mine = sequence(a, &std::pair<int, int>::first), theirs = sequence(b, &std::pair<int, int>::second);
    for (std::size_t k = 0; k < std::min(mine.size(), theirs.size()); ++k) {
      if (mine[k].pair == theirs[k].pair) continue;
      return wrong("issue_order", a, mine[k].step, "nccl collectives that ranks ", a, " and ", b,
                   " share are issued in different orders: rank ", a, " has ",
                   describe_step(*play_.of(a).program, mine[k].step), " where rank ", b, " has ",
                   describe_step(*play_.of(b).program, theirs[k].step));
    }
  }

  Play const& play_;
  World const& world_;
  std::vector<Problem>& problems_;
  std::set<std::tuple<int, int, int, int, int, int>> compared_;  // shape, group, place; of both sides
  bool sound_ = true;
};

}  // namespace

bool check_matching(Play const& play, std::vector<Problem>& problems) { return MatchCheck(play, problems).run(); }

}  // namespace lamina::program::detail
