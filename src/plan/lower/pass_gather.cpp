// Parameters from other replicas. ZeRO 1 and 2: what the update has left is fetched once. ZeRO 3: parameters are whole
// only around the block that uses them.
#include <algorithm>

#include "lamina/base/text.hpp"
#include "plan/detail/parameters.hpp"
#include "plan/detail/pass.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {

using program::Step;
using program::StepKind;

/// All at once: in the stream of the replicas' group they come one after the other, before any reduction.
void Pass::fetch_parameters() {
  RowGather rows(plan_, buffers_, writer_);
  for (auto const& name : late_parameters(plan_, part_, kind_, buffers_)) {
    if (lookups_.unread.contains(name)) continue;
    for (int const b : cut_buffers(plan_, buffers_, name, true)) rows.add(b);
    for (auto const& copy : buffers_.copies()) {
      if (copy.packed && copy.parameter == name) unpacked_.insert(copy.name);
    }
  }
  rows.flush();
}

/// A weight is packed when it has arrived, just before the first product that reads it.
void Pass::pack_fetched(graph::Node const& node) {
  if (unpacked_.empty()) return;
  for (auto const& copy : copies_[static_cast<Index>(node.id)]) {
    if (copy && copy->packed && unpacked_.erase(copy->name) > 0) pack(buffers_, writer_, *copy);
  }
}

/// Cuts the nodes of every action into runs of one block, each with the parameters that it is the first to use.
void Pass::plan_gathers() {
  if (plan_.zero != 3) return;
  for (std::size_t a = 0; a < actions().size(); ++a) {
    std::set<std::string> known;
    std::string block;
    for (int const n : nodes(actions()[a])) {
      auto const& node = part_.graph.node(n);
      if (runs_.empty() || runs_.back().action != a || block_of(node.layer) != block) {
        block = block_of(node.layer);
        runs_.push_back({.action = a, .first_node = n, .names = {}});
      }
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        auto const& v = part_.graph.value(node.in[i]);
        if (v.role != Role::parameter) continue;
        auto const& copy = copies_[static_cast<Index>(n)][i];
        auto const& name = copy ? copy->name : v.name;
        if (known.insert(name).second) runs_.back().names.push_back(name);
      }
    }
  }
}

Pass::Gathered const& Pass::gathered_of(std::string const& name) {
  auto const [at, is_new] = known_.try_emplace(name);
  auto& g = at->second;
  if (!is_new) return g;
  g.part = buffers_.find(name, Role::packed);
  if (g.part < 0) g.part = buffers_.find(name, Role::parameter);
  // The whole is local to this rank's tensor-parallel part.
  auto const copy =
      std::find_if(buffers_.copies().begin(), buffers_.copies().end(), [&](auto const& c) { return c.name == name; });
  g.whole = copy != buffers_.copies().end() ? copy->spec.shape
                                            : plan_.local_spec(part_, part_.graph.find(name, Role::parameter)).shape;
  g.rows = rows_text(row_bounds(flat_rows(g.whole).rows, plan_.mesh.size("dp")));
  return g;
}

void Pass::gather(std::size_t run) {
  auto const& r = runs_[run];
  if (r.names.empty()) return;
  struct Together {
    std::vector<int> parts, wholes;
    std::vector<std::string> rows;
  };
  std::map<DType, Together> by_dtype;  // a collective has one
  whole_.resize(actions().size());
  for (auto const& name : r.names) {
    auto const& g = gathered_of(name);
    auto const dtype = buffers_[g.part].spec.dtype;
    int const whole = buffers_.transient(writer_.index(), name + '@' + std::to_string(r.action), {dtype, g.whole});
    whole_[r.action][name] = whole;
    auto& to = by_dtype[dtype];
    to.parts.push_back(g.part), to.wholes.push_back(whole), to.rows.push_back(g.rows);
  }
  for (auto& [dtype, g] : by_dtype) {
    Step step;
    step.kind = StepKind::all_gather;
    step.layer = block_of(part_.graph.node(r.first_node).layer);
    step.micro_batch = part_.trains() ? actions()[r.action].micro_batch : -1;
    step.in = std::move(g.parts), step.out = std::move(g.wholes);
    step.attributes.set("rows", join(g.rows, ";"));
    step.attributes.set("flat", std::int64_t{1});
    if (writer_.last_compute() >= 0) step.after = {writer_.last_compute()};
    writer_.communicate("dp", std::move(step));
  }
}

}  // namespace lamina::plan
