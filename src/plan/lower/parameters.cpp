#include "plan/detail/parameters.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/update.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {

using program::Step;
using program::StepKind;

namespace {

std::string rows_of(Plan const& plan, Buffers const& buffers, int buffer) {
  return rows_text(row_bounds(flat_rows(buffers[buffer].spec.shape).rows, plan.mesh.size("dp")));
}

bool is_master_whole(Plan const& plan, std::string const& parameter) {
  return plan.zero == 0 || (plan.zero < 3 && plan.masters.contains(parameter));
}

/// Each replica casts the rows of its master that are right.
bool casts_rows(Plan const& plan, std::string const& parameter, bool updated) {
  return plan.zero != 0 && plan.zero != 3 && (updated || !is_master_whole(plan, parameter));
}

}  // namespace

void RowGather::add(int buffer) {
  waiting_.push_back(buffer);
  bytes_ += buffers_[buffer].spec.bytes();
  if (bytes_ > plan_.config.parallel.bucket) flush();
}

void RowGather::flush() {
  std::map<DType, std::vector<int>> by_dtype;  // a collective has one
  for (int const b : waiting_) by_dtype[buffers_[b].spec.dtype].push_back(b);
  for (auto const& [dtype, list] : by_dtype) {
    Step step;
    step.kind = StepKind::all_gather;
    step.in = step.out = list;
    std::vector<std::string> rows;
    for (int const b : list) rows.push_back(rows_of(plan_, buffers_, b));
    step.attributes.set("rows", join(rows, ";"));
    step.attributes.set("flat", std::int64_t{1});
    step.layer = "parameters";
    writer_.communicate("dp", std::move(step));
  }
  waiting_.clear();
  bytes_ = 0;
}

void cast_copies(Plan const& plan, Buffers const& buffers, ProgramWriter& writer, std::string const& parameter,
                 bool updated) {
  int const master = buffers.find(parameter, Role::parameter);
  for (auto const& copy : buffers.copies()) {
    if (copy.parameter != parameter || copy.packed) continue;
    int const out = buffers.find(copy.name, Role::packed);
    Step step;
    step.layer = parameter;
    graph::Cast const cast(copy.dtype);
    step.attributes = cast.attributes();
    if (casts_rows(plan, parameter, updated)) {
      step.attributes.set("rows", rows_of(plan, buffers, out));
      step.attributes.set("rows_axis", std::string("dp"));
    }
    writer.kernel(cast, {buffers[master].spec}, {master}, {out}, std::move(step));
  }
}

std::vector<int> cut_buffers(Plan const& plan, Buffers const& buffers, std::string const& parameter, bool updated) {
  std::vector<int> cut;
  if (plan.zero >= 1 && updated && is_master_whole(plan, parameter)) {
    cut.push_back(buffers.find(parameter, Role::parameter));
  }
  for (auto const& copy : buffers.copies()) {
    if (copy.parameter != parameter || copy.packed || !casts_rows(plan, parameter, updated)) continue;
    cut.push_back(buffers.find(copy.name, Role::packed));
  }
  return cut;
}

void pack(Buffers const& buffers, ProgramWriter& writer, WorkingCopy const& copy) {
  auto const use = copy.use == "forward" ? graph::PackWeight::Use::forward : graph::PackWeight::Use::backward;
  graph::PackWeight const op({.use = use, .n = copy.n, .k = copy.k, .rows = copy.rows, .dtype = copy.dtype});
  writer.kernel(op, {buffers.find(copy.parameter, Role::parameter)}, {buffers.find(copy.name, Role::packed)},
                copy.parameter);
}

std::vector<std::string> late_parameters(Plan const& plan, Part const& part, Kind const& kind, Buffers const& buffers) {
  std::vector<std::string> late;
  if (plan.zero == 0 || plan.zero == 3 || !plan.config.parallel.overlap) return late;
  constexpr std::size_t fetched_by_update = 2;
  auto const& actions = part.schedules.at(kind.micro_batches).actions[static_cast<std::size_t>(kind.stage)];
  auto const lookups = find_first_lookups(plan, part, actions, make_node_table(part, plan.at.size()));
  std::set<std::string> blocks, known;
  for (auto const& node : part.graph.nodes()) {
    if (node.phase == graph::Phase::update || !buffers.is_here(part, node)) continue;
    for (int const i : node.in) {
      auto const& v = part.graph.value(i);
      if (v.role != Role::parameter) continue;
      blocks.insert(block_of(node.layer));
      if (lookups.nodes.contains(node.id)) continue;
      bool const is_late = blocks.size() > fetched_by_update || lookups.tables.contains(v.name);
      if (known.insert(v.name).second && is_late) late.push_back(v.name);
    }
  }
  for (auto const& name : lookups.tables) {
    if (known.insert(name).second) late.push_back(name);
  }
  return late;
}

}  // namespace lamina::plan
