#include <algorithm>

#include "plan/detail/pass.hpp"

namespace lamina::plan {

int Crossings::producer_at(int value) const {
  int const node = part_.graph.value(value).producer;
  if (node < 0) return -1;
  int const stage = part_.stages[static_cast<std::size_t>(node)];
  return stage < 0 ? -1 : plan_.at[static_cast<std::size_t>(stage)];
}

Crossings::Crossings(Plan const& plan, Part const& part)
    : plan_(plan), part_(part), leaving_(part.graph.nodes().size()), arriving_(part.graph.nodes().size()) {
  std::set<std::tuple<int, int, int>> known;
  for (auto const& node : part.graph.nodes()) {
    auto const n = static_cast<std::size_t>(node.id);
    arriving_[n].assign(node.in.size(), {-1, -1});
    if (node.phase == graph::Phase::update) continue;
    int const here = plan.at[static_cast<std::size_t>(part.stages[n])];
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      auto const& v = part.graph.value(node.in[i]);
      if (v.producer < 0 || v.accumulates_into >= 0 || v.overwrites >= 0) continue;
      int const from = producer_at(v.id);
      if (from == here) continue;
      // A completed sum travels as such; what is gathered or cut here travels as it was produced.
      int form = part.layouts.operands[n][i];
      while (form >= 0 && !part.layouts.forms[static_cast<std::size_t>(form)].at_producer) {
        form = part.layouts.forms[static_cast<std::size_t>(form)].from;
      }
      arriving_[n][i] = {v.id, form};
      if (!known.emplace(v.id, form, here).second) continue;
      leaving_[static_cast<std::size_t>(v.producer)].push_back(
          {v.id, form, here, node.phase == graph::Phase::backward});
      pairs_.insert({from, here});
    }
  }
}

std::array<std::vector<std::vector<int>>, 4> make_node_table(Part const& part, std::size_t stages) {
  std::array<std::vector<std::vector<int>>, 4> table;
  for (auto& t : table) t.resize(stages);
  auto const put = [&](Action::Kind kind, int stage, int node) {
    table[static_cast<std::size_t>(kind)][static_cast<std::size_t>(stage)].push_back(node);
  };
  for (auto const& n : part.graph.nodes()) {
    int const stage = part.stages[static_cast<std::size_t>(n.id)];
    if (n.phase == graph::Phase::update) continue;
    if (n.phase == graph::Phase::forward) {
      put(Action::Kind::forward, stage, n.id);
      continue;
    }
    put(Action::Kind::backward, stage, n.id);
    bool const weight = std::all_of(n.out.begin(), n.out.end(), [&](int o) {
      int const state = part.graph.value(o).accumulates_into;
      return state >= 0 && part.graph.value(state).role == Role::gradient;
    });
    put(weight ? Action::Kind::backward_weight : Action::Kind::backward_input, stage, n.id);
  }
  return table;
}

std::vector<int> const& nodes_of(Action const& action, std::array<std::vector<std::vector<int>>, 4> const& table) {
  return table[static_cast<std::size_t>(action.kind)][static_cast<std::size_t>(action.stage)];
}

}  // namespace lamina::plan
