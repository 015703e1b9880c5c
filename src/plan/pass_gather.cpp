// ZeRO stage 3: parameters are whole only around the block that uses them.
#include <algorithm>

#include "lamina/base/text.hpp"
#include "plan/detail/pass.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {

using program::Step;
using program::StepKind;

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

void Pass::gather(std::size_t run) {
  auto const& r = runs_[run];
  if (r.names.empty()) return;
  struct Gathered {
    std::vector<int> parts, wholes;
    std::vector<std::string> rows;
  };
  std::map<DType, Gathered> by_dtype;  // a collective has one
  for (auto const& name : r.names) {
    int part = buffers_.find(name, Role::packed);
    if (part < 0) part = buffers_.find(name, Role::parameter);
    Shape shape;  // of the whole: local to this rank's tensor-parallel part
    if (auto const copy = std::find_if(buffers_.copies().begin(), buffers_.copies().end(),
                                       [&](auto const& c) { return c.name == name; });
        copy != buffers_.copies().end()) {
      shape = copy->spec.shape;
    } else {
      shape = plan_.local_spec(part_, part_.graph.find(name, Role::parameter)).shape;
    }
    auto const dtype = buffers_[part].spec.dtype;
    int const whole = buffers_.transient(writer_.index(), text(name, "@", r.action), {dtype, shape});
    whole_[{r.action, name}] = whole;
    auto& to = by_dtype[dtype];
    to.parts.push_back(part), to.wholes.push_back(whole);
    to.rows.push_back(rows_text(row_bounds(flat_rows(shape).rows, plan_.mesh.size("dp"))));
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
