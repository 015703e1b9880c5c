#include <algorithm>
#include <set>

#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/update.hpp"
#include "plan/detail/memory.hpp"
#include "plan/detail/parameters.hpp"
#include "plan/detail/pass.hpp"

namespace lamina::plan {
namespace {

using program::Step;
using program::StepKind;

class Lowering {
 public:
  Lowering(Plan const& plan, Kind const& kind) : plan_(plan), kind_(kind), buffers_(plan, kind, shape_) {}

  program::Template run() {
    groups();
    buffers_.add_persistent();
    for (auto const& part : plan_.parts) {
      if (part.trains()) pass(part);
    }
    if (plan_.purpose != Purpose::generate) control();
    if (plan_.purpose == Purpose::train) update(plan_.parts.front());
    refresh();
    for (auto const& part : plan_.parts) {
      if (!part.trains()) pass(part);
    }
    place_transients(shape_, buffers_.place_persistent(), std::ssize(plan_.kinds));
    return std::move(shape_);
  }

 private:
  void groups() {
    for (auto const* axis : {"dp", "tp"}) {
      if (plan_.mesh.size(axis) > 1) shape_.groups.push_back({.name = axis, .axis = axis});
    }
    std::set<std::pair<int, int>> pairs;
    for (auto const& part : plan_.parts) {
      Crossings const crossings(plan_, part);
      for (int other = 0; other < plan_.mesh.size("pp"); ++other) {
        if (crossings.any(kind_.stage, other)) pairs.emplace(kind_.stage, other);
        if (crossings.any(other, kind_.stage)) pairs.emplace(other, kind_.stage);
      }
    }
    for (auto const& [from, to] : pairs) shape_.groups.push_back({.name = pair_group(from, to), .axis = "pp"});
    std::set<std::vector<int>> ties;
    for (auto const& [parameter, holders] : plan_.holders) {
      bool const here = std::find(holders.begin(), holders.end(), kind_.stage) != holders.end();
      if (here && holders.size() > 1 && plan_.purpose == Purpose::train) ties.insert(holders);
    }
    for (auto const& t : ties) shape_.groups.push_back({.name = tie_group(t), .axis = "pp"});
    if (plan_.mesh.world() > 1) shape_.groups.push_back({.name = "control", .axis = ""});
  }

  void pass(Part const& part) {
    auto const m = part.trains() ? kind_.micro_batches : 1;
    Pass(plan_, kind_, shape_, buffers_, part, part.schedules.at(m)).write();
  }

  void control() {
    ProgramWriter writer(plan_, shape_, buffers_, "control");
    if (plan_.mesh.world() == 1) return;
    int const control = buffers_.find("control", Role::input);
    Step step;
    step.kind = StepKind::all_reduce;
    step.attributes.set("reduce", std::string("sum"));
    step.in = step.out = {control};
    step.layer = "control";
    writer.communicate("control", std::move(step));
  }

  /// An optimizer node per parameter, each followed by its working copies. With ZeRO on this rank's rows; what others
  /// need whole is gathered beneath the rest of the update, or by the next forward.
  void update(Part const& part) {
    auto const later = late_parameters(plan_, part, kind_, buffers_);
    std::set<std::string> const late(later.begin(), later.end());
    {
      ProgramWriter writer(plan_, shape_, buffers_, "update");
      RowGather rows(plan_, buffers_, writer);
      std::vector<std::string> gathered;
      for (auto const& node : part.graph.nodes()) {
        if (node.phase != graph::Phase::update || !buffers_.is_here(part, node)) continue;
        auto const name = optimize(writer, part, node);
        cast_copies(plan_, buffers_, writer, name, true);
        if (late.contains(name)) continue;
        for (int const b : cut_buffers(plan_, buffers_, name, true)) rows.add(b);
        if (plan_.zero > 0) {
          gathered.push_back(name);
        } else {
          pack_all(writer, name);
        }
      }
      rows.flush();
      for (auto const& name : gathered) pack_all(writer, name);
    }
    if (!late.empty()) gather(later);
  }

  /// What the next forward would fetch, for those who look at the parameters before it.
  void gather(std::vector<std::string> const& late) {
    ProgramWriter writer(plan_, shape_, buffers_, "gather");
    RowGather rows(plan_, buffers_, writer);
    for (auto const& name : late) {
      for (int const b : cut_buffers(plan_, buffers_, name, true)) rows.add(b);
    }
    rows.flush();
    for (auto const& name : late) pack_all(writer, name);
  }

  /// Returns the name of the parameter.
  std::string optimize(ProgramWriter& writer, Part const& part, graph::Node const& node) {
    std::string name;
    std::vector<int> in, out;
    std::vector<TensorSpec> specs;
    Step step;
    step.attributes = node.op->attributes();
    step.layer = node.layer;
    bool part_of_some = false, all_parts = true;
    std::int64_t rows = 0;
    auto const find = [&](int value) {
      auto const* v = &part.graph.value(value);
      if (v->overwrites >= 0) v = &part.graph.value(v->overwrites);
      if (v->role == Role::parameter) name = v->name, rows = flat_rows(plan_.local_spec(part, v->id).shape).rows;
      bool const held = v->role != Role::input;
      bool const is_part = held && plan_.storage(part, *v, kind_.replica).part;
      part_of_some |= is_part, all_parts &= is_part || !held;
      return buffers_.find(v->name, v->role);
    };
    for (int const v : node.in) in.push_back(find(v)), specs.push_back(buffers_[in.back()].spec);
    for (int const v : node.out) out.push_back(find(v));
    if (part_of_some && !all_parts) {
      step.attributes.set("rows", rows_text(row_bounds(rows, plan_.mesh.size("dp"))));
      step.attributes.set("rows_axis", std::string("dp"));
    }
    if (part_of_some) {  // the work is that of the rows of this rank, which the moments have
      for (std::size_t i = 0; i + 1 < specs.size(); ++i) specs[i].shape = buffers_[in[2]].spec.shape;
    }
    writer.kernel(*node.op, specs, std::move(in), std::move(out), std::move(step));
    return name;
  }

  void refresh() {
    ProgramWriter writer(plan_, shape_, buffers_, "refresh");
    RowGather rows(plan_, buffers_, writer);
    std::set<std::string> done;
    for (auto const& copy : buffers_.copies()) {
      if (!done.insert(copy.parameter).second) continue;
      cast_copies(plan_, buffers_, writer, copy.parameter, false);
      for (int const b : cut_buffers(plan_, buffers_, copy.parameter, false)) rows.add(b);
      pack_all(writer, copy.parameter);
    }
    rows.flush();
  }

  void pack_all(ProgramWriter& writer, std::string const& parameter) {
    for (auto const& copy : buffers_.copies()) {
      if (copy.packed && copy.parameter == parameter) pack(buffers_, writer, copy);
    }
  }

  Plan const& plan_;
  Kind const& kind_;
  program::Template shape_;
  Buffers buffers_;
};

}  // namespace

program::Template lower_kind(Plan const& plan, Kind const& kind) { return Lowering(plan, kind).run(); }

}  // namespace lamina::plan
