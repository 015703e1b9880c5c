#include <algorithm>

#include "lamina/base/text.hpp"
#include "plan/detail/pass.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {

FirstLookups find_first_lookups(Plan const& plan, Part const& part, std::vector<Action> const& actions,
                                std::array<std::vector<std::vector<int>>, 4> const& table) {
  FirstLookups first;
  bool const rows_here = plan.zero == 1 || plan.zero == 2;
  if (!part.trains() || !rows_here || !plan.config.parallel.overlap || plan.canonical() || actions.empty())
    return first;
  std::string block;  // of the first node that reads a parameter: what that reads is not fetched late
  for (int const n : nodes_of(actions.front(), table)) {
    auto const& node = part.graph.node(n);
    auto const id = static_cast<std::size_t>(n);
    auto const reads = [&](int i) { return part.graph.value(i).role == Role::parameter; };
    if (std::none_of(node.in.begin(), node.in.end(), reads)) continue;
    if (block.empty()) block = block_of(node.layer);
    if (block_of(node.layer) != block) break;
    if (node.op->kind() != "embedding" || !reads(node.in[0])) continue;
    auto const whole = plan.local_spec(part, node.in[0]).bytes();
    auto const moved = of_all_replicas(plan, plan.local_spec(part, node.in[1], part.layouts.operands[id][1])).bytes() +
                       of_all_replicas(plan, plan.local_spec(part, node.out[0])).bytes();
    // What fits a bucket hides beneath the update that leaves it behind.
    if (whole <= plan.config.parallel.bucket || 2 * moved > whole) continue;
    first.nodes.insert(n);
    first.tables.insert(part.graph.value(node.in[0]).name);
    first.moved_bytes += moved;
  }
  // All replicas gather alike: those with more micro-batches read the tables again.
  if (std::any_of(plan.micro_batches.begin(), plan.micro_batches.end(), [](auto m) { return m > 1; })) return first;
  first.unread = first.tables;
  for (auto const& action : actions) {
    for (int const n : nodes_of(action, table)) {
      if (first.nodes.contains(n)) continue;
      for (int const i : part.graph.node(n).in) first.unread.erase(part.graph.value(i).name);
    }
  }
  return first;
}

/// x of this replica's tokens: the sum over replicas of what each finds in its rows.
void Pass::look_up(graph::Node const& node, program::Step step, std::vector<TensorSpec> specs, std::vector<int> in,
                   std::vector<int> const& out) {
  auto const& x = part_.graph.value(node.out[0]);
  gather_operand(node, 1, in, specs);
  auto const rows = flat_rows(buffers_[in[0]].spec.shape).rows;
  step.attributes.set("rows", rows_text(row_bounds(rows, plan_.mesh.size("dp"))));
  step.attributes.set("rows_axis", std::string("dp"));
  auto const holders = step.attributes.string("holder", "");
  step.attributes.set("holder", holders.empty() ? std::string("dp") : holders + ",dp");
  auto const found = buffers_.transient(writer_.index(), text(x.name, ".replicas@", node.id),
                                        of_all_replicas(plan_, buffers_[out[0]].spec));
  writer_.kernel(*node.op, specs, std::move(in), {found}, std::move(step));
  program::Step sum;
  sum.kind = program::StepKind::reduce_scatter;
  sum.attributes.set("reduce", std::string("sum"));
  sum.layer = node.layer;
  sum.micro_batch = static_cast<int>(micro_batch_);
  sum.in = {found}, sum.out = out;
  writer_.communicate("dp", std::move(sum));
}

}  // namespace lamina::plan
