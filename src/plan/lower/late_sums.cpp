#include <algorithm>
#include <functional>

#include "lamina/base/text.hpp"
#include "plan/detail/pass.hpp"

namespace lamina::plan {
namespace {

/// Who adds to gradients.
struct Writers {
  std::map<int, int> count;                         // state -> nodes of all actions
  std::map<int, std::pair<std::size_t, int>> last;  // state -> action and node of the last of them
};

Writers find_writers(Part const& part, std::vector<Action> const& actions,
                     std::array<std::vector<std::vector<int>>, 4> const& table) {
  Writers w;
  for (std::size_t a = 0; a < actions.size(); ++a) {
    for (int const n : nodes_of(actions[a], table)) {
      auto const& node = part.graph.node(n);
      for (int const o : node.out) {
        int const state = part.graph.value(o).accumulates_into;
        if (state >= 0) ++w.count[state], w.last[state] = {a, n};
      }
    }
  }
  return w;
}

}  // namespace

TensorSpec of_all_replicas(Plan const& plan, TensorSpec spec) {
  spec.shape[0] *= plan.mesh.size("dp");
  return spec;
}

LateSums find_late_sums(Plan const& plan, Part const& part, std::vector<Action> const& actions,
                        std::array<std::vector<std::vector<int>>, 4> const& table) {
  LateSums late;
  auto const& counts = plan.micro_batches;
  bool const alike = std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
  bool const overlaps = plan.zero < 2 && plan.config.parallel.overlap && !plan.canonical();
  if (!part.trains() || plan.mesh.size("dp") == 1 || !overlaps || !alike) return late;
  auto writers = find_writers(part, actions, table);
  std::set<std::pair<std::size_t, int>> candidates;
  for (auto const& [state, where] : writers.last) {
    if (part.graph.node(where.second).op->kind() == "embedding_grad") candidates.insert(where);
  }
  for (auto const& where : candidates) {
    auto const& node = part.graph.node(where.second);
    auto const id = static_cast<std::size_t>(node.id);
    std::int64_t gathered = 0, reduced = 0;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      int const form = part.layouts.operands[id][i];
      gathered += of_all_replicas(plan, plan.local_spec(part, node.in[i], form)).bytes();
    }
    std::vector<int> states;
    bool fits = true;  // partial over the replicas only, and nothing is added behind it
    for (int const o : node.out) {
      int const state = part.graph.value(o).accumulates_into;
      auto const axes = part.layouts.partial_axes(state);
      fits &= axes.size() == 1 && plan.mesh.axes[axes[0]] == "dp" && writers.last.at(state) == where &&
              plan.holders_of(part.graph.value(state).name).size() == 1;
      states.push_back(state);
      reduced += plan.local_spec(part, state).bytes();
    }
    // What fits a bucket is no worse than any other last bucket.
    if (!fits || reduced <= plan.config.parallel.bucket || 2 * gathered > reduced) continue;
    late.where.insert(where);
    late.gathered_bytes += gathered;
    for (int const s : states) {
      (--writers.count[s] == 0 ? late.alone : late.before).push_back(s);
    }
  }
  return late;
}

void Pass::gather_operand(graph::Node const& node, std::size_t i, std::vector<int>& in,
                          std::vector<TensorSpec>& specs) {
  specs[i] = of_all_replicas(plan_, specs[i]);
  auto const& value = part_.graph.value(node.in[i]);
  program::Step step;
  step.kind = program::StepKind::all_gather;
  step.layer = node.layer;
  step.micro_batch = static_cast<int>(micro_batch_);
  step.in = {in[i]};
  step.out = {buffers_.transient(writer_.index(), text(value.name, ".replicas@", node.id), specs[i])};
  if (writer_.last_compute() >= 0) step.after = {writer_.last_compute()};  // no buffer earlier than it is of use
  in[i] = step.out[0];
  writer_.communicate("dp", std::move(step));
}

}  // namespace lamina::plan
