#include <algorithm>
#include <map>
#include <utility>

#include "plan/detail/plan.hpp"

namespace lamina::plan {

std::vector<Bucket> make_buckets(Plan const& plan, Part const& train, std::int64_t bytes) {
  // Micro-batches run one after the other in graph order, so the last writer in the graph is the last of the step.
  std::map<int, std::pair<int, std::size_t>> last;
  for (auto const& node : train.graph.nodes()) {
    for (std::size_t o = 0; o < node.out.size(); ++o) {
      int const state = train.graph.value(node.out[o]).accumulates_into;
      if (state >= 0 && train.graph.value(state).role == Role::gradient) last[state] = {node.id, o};
    }
  }
  std::vector<std::pair<std::pair<int, std::size_t>, int>> order;
  for (auto const& [state, when] : last) order.emplace_back(when, state);
  std::sort(order.begin(), order.end());

  std::vector<Bucket> buckets;
  for (auto const& [when, state] : order) {
    auto const size = plan.local_spec(train, state).bytes();
    if (buckets.empty() || buckets.back().bytes + size > bytes) buckets.emplace_back();
    buckets.back().gradients.push_back(state);
    buckets.back().bytes += size;
    buckets.back().complete = when.first;
  }
  return buckets;
}

}  // namespace lamina::plan
