#include "plan/detail/traffic.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "plan/detail/copies.hpp"
#include "plan/detail/pass.hpp"
#include "plan/detail/timeline.hpp"

namespace lamina::plan {
namespace {

using program::StepKind;
using Index = std::size_t;

/// Bytes by action kind and stage, or by stage alone.
using Table = std::array<std::vector<std::int64_t>, 4>;

/// How many times each stage has an action of each kind in a step of all replicas.
Table count_actions(Plan const& plan, Part const& part) {
  Table counts;
  for (auto& c : counts) c.assign(plan.at.size(), 0);
  for (auto const m : plan.micro_batches) {
    for (auto const& list : part.schedules.at(m).actions) {
      for (auto const& a : list) ++counts[Index(a.kind)][Index(a.stage)];
    }
  }
  return counts;
}

/// The traffic of another ZeRO stage, from the same graph.
class Alternative {
 public:
  Alternative(Plan const& plan, int zero) : plan_(plan), replicas_(plan.mesh.size("dp")) {
    plan_.zero = zero;
    plan_.masters = find_masters(plan_);
  }

  std::int64_t bytes() const {
    auto const& part = plan_.parts.front();
    auto const counts = count_actions(plan_, part);
    auto const table = make_node_table(part, plan_.at.size());
    std::int64_t sum = 0;
    for (Index k = 0; k < table.size() && plan_.zero >= 2; ++k) {
      for (Index s = 0; s < plan_.at.size(); ++s) {
        if (counts[k][s] == 0) continue;
        std::set<int> all;
        for (int const n : table[k][s]) add_gradients(part, part.graph.node(n), all);
        // Each replica has counted its own actions; a reduction is one of all.
        sum += counts[k][s] / replicas_ * moved(part, all, 1);
        if (plan_.zero == 3) sum += counts[k][s] / replicas_ * gathered(part, table[k][s]);
      }
    }
    if (plan_.zero < 3) sum += update(part);
    for (int c = 0; c < plan_.mesh.size("pp") && plan_.zero < 3; ++c) {
      auto const& actions = part.schedules.at(plan_.micro_batches.front()).actions[Index(c)];
      auto const lookups = find_first_lookups(plan_, part, actions, table);
      sum += once(lookups.moved_bytes);
      for (auto const& name : lookups.unread) {
        sum -= once(plan_.local_spec(part, part.graph.find(name, Role::parameter)).bytes());
      }
      if (plan_.zero == 2) continue;
      std::set<int> all;
      for (auto const& n : part.graph.nodes()) {
        if (is_at(part, n, c)) add_gradients(part, n, all);
      }
      auto const late = find_late_sums(plan_, part, actions, table);
      for (int const g : late.alone) all.erase(g);
      sum += once(late.gathered_bytes) + moved(part, all, plan_.zero == 0 ? 2 : 1);
    }
    return sum * plan_.mesh.size("tp");
  }

 private:
  bool is_at(Part const& part, graph::Node const& n, int coordinate) const {
    if (n.phase == graph::Phase::update) return false;
    return plan_.at[Index(part.stages[Index(n.id)])] == coordinate;
  }
  std::int64_t once(std::int64_t bytes) const { return (replicas_ - 1) * bytes; }

  static void add_gradients(Part const& part, graph::Node const& n, std::set<int>& all) {
    for (int const o : n.out) {
      int const state = part.graph.value(o).accumulates_into;
      if (state >= 0 && part.graph.value(state).role == Role::gradient) all.insert(state);
    }
  }
  /// Reductions of gradients that are sums over replicas.
  std::int64_t moved(Part const& part, std::set<int> const& gradients, int times) const {
    std::int64_t sum = 0;
    for (int const g : gradients) {
      for (auto const a : part.layouts.partial_axes(g)) {
        if (plan_.mesh.axes[a] == "dp") sum += times * once(plan_.local_spec(part, g).bytes());
      }
    }
    return sum;
  }

  /// Stage 3: what one action reads.
  std::int64_t gathered(Part const& part, std::vector<int> const& nodes) const {
    std::map<std::string, std::int64_t> read;
    for (int const n : nodes) {
      auto const& node = part.graph.node(n);
      for (int i = 0; i < static_cast<int>(node.in.size()); ++i) {
        auto const& v = part.graph.value(node.in[Index(i)]);
        if (v.role != Role::parameter) continue;
        auto const copy = working_copy(plan_, part, node, i);
        read[copy ? copy->name : v.name] = copy ? copy->spec.bytes() : plan_.local_spec(part, v.id).bytes();
      }
    }
    std::int64_t sum = 0;
    for (auto const& [name, bytes] : read) sum += once(bytes);
    return sum;
  }

  /// Stages 1 and 2: masters that are kept whole, and plain copies of the others.
  std::int64_t update(Part const& part) const {
    if (plan_.zero == 0) return 0;
    std::int64_t sum = 0;
    for (int c = 0; c < plan_.mesh.size("pp"); ++c) {
      std::map<std::string, std::int64_t> whole;
      for (auto const& p : plan_.parts) {
        for (auto const& node : p.graph.nodes()) {
          if (!is_at(p, node, c)) continue;
          for (int i = 0; i < static_cast<int>(node.in.size()); ++i) {
            auto const copy = working_copy(plan_, p, node, i);
            if (copy && !copy->packed) whole[copy->name] = copy->spec.bytes();
          }
        }
      }
      for (int const v : part.graph.parameters()) {
        auto const& name = part.graph.value(v).name;
        auto const& holders = plan_.holders_of(name);
        bool const here = std::find(holders.begin(), holders.end(), c) != holders.end();
        if (here && plan_.masters.contains(name)) whole[name] = plan_.local_spec(part, v).bytes();
      }
      for (auto const& [name, bytes] : whole) sum += once(bytes);
    }
    return sum;
  }

  Plan plan_;  // the same run with another ZeRO stage
  std::int64_t replicas_;
};

}  // namespace

std::array<int, 3> group_order(std::string const& group) {
  auto const number = [&](std::size_t from) {
    int n = 0;
    for (; from < group.size() && group[from] >= '0' && group[from] <= '9'; ++from) n = 10 * n + (group[from] - '0');
    return n;
  };
  if (group == "tp") return {0, 0, 0};
  if (group == "dp") return {1, 0, 0};
  if (group.starts_with("pp.")) return {2, number(3), number(group.find('>') + 1)};
  return {group.starts_with("tie.") ? 3 : 4, 0, 0};
}

std::vector<std::int64_t> ranks_per_kind(Plan const& plan) {
  std::vector<std::int64_t> count(plan.kinds.size(), 0);
  for (int const k : plan.kind_of) count[Index(k)] += plan.mesh.size("tp");
  return count;
}

std::vector<Traffic> traffic(Plan const& plan) {
  struct Sum {
    std::int64_t operations = 0, bytes = 0;  // bytes: that the whole group sends
  };
  std::map<std::pair<std::array<int, 3>, std::pair<std::string, StepKind>>, Traffic> rows;
  auto const count = ranks_per_kind(plan);
  for (Index k = 0; k < plan.kinds.size(); ++k) {
    auto const& shape = *plan.shapes[k];
    int const rank = rank_at(plan, plan.kinds[k].stage, plan.kinds[k].replica);
    std::vector<int> members;
    for (auto const& g : shape.groups) members.push_back(static_cast<int>(plan.members(g, rank).size()));
    std::map<std::pair<int, StepKind>, Sum> mine;
    for (auto const* name : {"forward_backward", "control", "update"}) {
      auto const* p = shape.find_program(name);
      if (p == nullptr) continue;
      for (auto const& step : p->steps) {
        if (!program::is_communication(step.kind) || step.kind == StepKind::recv) continue;
        auto& sum = mine[{step.group, step.kind}];
        ++sum.operations;
        sum.bytes += program::sent_bytes(step.kind, step.bytes, members[Index(step.group)]);
      }
    }
    for (auto const& [key, sum] : mine) {
      auto const& group = shape.groups[Index(key.first)].name;
      int const ranks = members[Index(key.first)];
      auto& row = rows[{group_order(group), {group, key.second}}];
      row.group = group, row.ranks = ranks, row.kind = key.second;
      auto const own = key.second == StepKind::send ? sum.bytes : sum.bytes / ranks;
      row.operations = std::max(row.operations, sum.operations);
      row.rank_bytes = std::max(row.rank_bytes, own);
      // Every member counts the whole group's, a sender its own.
      row.bytes += count[k] * sum.bytes * (key.second == StepKind::send ? ranks : 1);
    }
  }
  std::vector<Traffic> all;
  for (auto& [key, row] : rows) {
    row.bytes /= row.ranks;
    all.push_back(std::move(row));
  }
  return all;
}

std::int64_t zero_bytes(Plan const& plan, int zero) { return Alternative(plan, zero).bytes(); }

std::vector<std::string> notes_of(Plan const& plan) {
  std::vector<std::string> notes;
  if (plan.send_lag != 2) {
    notes.push_back(
        text("ranks of this order of stages would wait for each other if each waited for a message to have ",
             "left before it went two actions further: it waits ",
             plan.send_lag > 0 ? text("after ", plan.send_lag) : std::string("at the end of the step"),
             ", and keeps what it has sent until then"));
  }
  if (plan.purpose != Purpose::train || plan.mesh.size("dp") == 1) return notes;
  auto const now = zero_bytes(plan, plan.zero);
  int best = plan.zero;
  auto least = now;
  for (int z = 0; z <= (plan.config.batch.shares.empty() ? 3 : 1); ++z) {
    // Of equals the one that takes less memory. A hundredth is not worth more of it.
    if (auto const bytes = zero_bytes(plan, z); bytes < now - now / 100 && bytes <= least) best = z, least = bytes;
  }
  if (best != plan.zero) {
    notes.push_back(text("parallel.zero = ", best, " would move ", human_bytes(least), " over dp in a step, ",
                         human_bytes(now - least), " less than parallel.zero = ", plan.zero, " does, and take ",
                         best > plan.zero ? "less" : "more", " memory"));
  }
  return notes;
}

}  // namespace lamina::plan
