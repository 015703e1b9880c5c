#include "lamina/base/text.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "lamina/base/units.hpp"
#include "plan/detail/plan.hpp"
#include "plan/detail/table.hpp"

namespace lamina::plan {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string_view name_of(Purpose p) { return p == Purpose::train ? "train" : p == Purpose::eval ? "eval" : "generate"; }

std::string mesh_text(Plan const& plan) {
  Rows rows;
  for (std::size_t a = 0; a < plan.mesh.axes.size(); ++a) {
    rows.push_back({plan.mesh.axes[a], text(plan.mesh.sizes[a])});
  }
  return text("mesh: ", plan.mesh.world(), " ranks, outermost axis first\n", table(rows));
}

std::string groups_text(Plan const& plan) {
  constexpr std::size_t shown = 8;
  std::vector<program::Group> groups;
  std::map<std::string, std::set<std::vector<int>>> members;
  for (int r = 0; r < plan.mesh.world(); ++r) {
    auto const set = lower(plan, r);
    for (std::size_t g = 0; g < set.shape->groups.size(); ++g) {
      auto const& group = set.shape->groups[g];
      if (members[group.name].empty()) groups.push_back(group);
      members[group.name].insert(set.binding.members[g]);
    }
  }
  if (groups.empty()) return "groups: none\n";
  Rows rows{{"name", "axis", "transport", "ranks"}};
  for (auto const& g : groups) {
    auto const& sets = members[g.name];
    std::vector<std::string> lists;
    for (auto const& s : sets) {
      if (lists.size() < shown) lists.push_back(text("{", ranges(s), "}"));
    }
    if (sets.size() > shown) lists.push_back(text("... ", sets.size(), " groups"));
    rows.push_back({g.name, g.axis.empty() ? "all" : g.axis, std::string(program::name_of(g.transport)), join(lists)});
  }
  return "groups\n" + table(rows);
}

std::string batch_text(Plan const& plan) {
  if (plan.purpose == Purpose::generate) return "";
  auto const& b = plan.config.batch;
  if (plan.purpose == Purpose::eval)
    return text("batch: ", plan.mesh.size("dp"), " replicas, ", b.micro, " samples each\n");
  std::set<std::int64_t> const counts(plan.micro_batches.begin(), plan.micro_batches.end());
  return text("batch: ", b.global, " samples a step = ", plan.mesh.size("dp"), " replicas x ",
              counts.size() == 1 ? text(*counts.begin()) : text(join(plan.micro_batches)),
              " micro-batches x up to ", b.micro, " samples\n");
}

/// The layer whose path is the longest prefix of the parameter's name.
std::int64_t parameters_of(Part const& part, std::string const& layer, std::vector<std::string> const& layers) {
  std::int64_t count = 0;
  for (int const id : part.graph.parameters()) {
    auto const& v = part.graph.value(id);
    std::string const* best = nullptr;
    for (auto const& l : layers) {
      if (v.name.starts_with(l + ".") && (best == nullptr || l.size() > best->size())) best = &l;
    }
    if (best != nullptr && *best == layer) count += v.spec.count();
  }
  return count;
}

/// Local bytes of what the layer's forward hands to the forward of other layers.
std::int64_t bytes_leaving(Plan const& plan, Part const& part, std::string const& layer) {
  std::set<int> leaving;
  for (auto const& n : part.graph.nodes()) {
    if (n.phase != graph::Phase::forward || n.layer == layer) continue;
    for (int const v : n.in) {
      int const producer = part.graph.value(v).producer;
      if (producer >= 0 && part.graph.node(producer).layer == layer) leaving.insert(v);
    }
  }
  std::int64_t bytes = 0;
  for (int const v : leaving) bytes += plan.local_spec(part, v).bytes();
  return bytes;
}

std::string layers_text(Plan const& plan, Part const& part) {
  auto const& layers = part.layers;
  std::vector<int> output(layers.size(), -1);
  for (auto const& n : part.graph.nodes()) {
    auto const at = std::find(layers.begin(), layers.end(), n.layer) - layers.begin();
    if (n.phase == graph::Phase::forward) output[static_cast<std::size_t>(at)] = n.out.front();
  }
  auto const all = ranges(plan.mesh.all());
  Rows rows{{"layer", "output", "parameters", "device", "stage", "ranks", "layout", "bytes leaving"}};
  for (std::size_t i = 0; i < layers.size(); ++i) {
    bool const fused = output[i] < 0;  // its forward is part of the layer before it
    auto const spec = fused ? "fused" : text(plan.local_spec(part, output[i]));
    auto const layout = fused ? "" : to_text(part.layouts.values[static_cast<std::size_t>(output[i])], plan.mesh);
    rows.push_back({layers[i], spec, text(parameters_of(part, layers[i], layers)), "cpu", "0", all, layout,
                    text(bytes_leaving(plan, part, layers[i]))});
  }
  return text("layers of ", part.program, " (shapes of one rank)\n", table(rows));
}

std::string gradients_text(Plan const& plan) {
  if (plan.purpose != Purpose::train) return "";
  Rows rows{{"rank", "groups", "gradients", "bytes"}};
  auto const& p = *plan.shapes.front()->find_program("forward_backward");
  std::map<std::string, std::pair<std::size_t, std::int64_t>> groups;
  for (auto const& s : p.steps) {
    bool const reduces = s.kind == program::StepKind::all_reduce || s.kind == program::StepKind::reduce_scatter;
    if (!reduces || !s.layer.starts_with("bucket.")) continue;
    auto const& group = plan.shapes.front()->groups[static_cast<std::size_t>(s.group)];
    auto& sum = groups[text(program::name_of(s.kind), " over ", group.name)];
    sum.first += s.in.size(), sum.second += s.bytes;
  }
  if (groups.empty()) return "gradients: whole on every rank that holds them\n";
  for (auto const& [how, sum] : groups) rows.push_back({"0", how, text(sum.first), text(sum.second)});
  auto const when = plan.zero >= 2                   ? "after every micro-batch"
                    : plan.config.parallel.overlap ? "while the last backward goes on"
                                                   : "after the backward";
  return text("gradients: reduced ", when, "\n", table(rows));
}

std::string fused_text(Plan const& plan) {
  if (!plan.config.parallel.fuse) return "fused: nothing, parallel.fuse = false\n";
  Rows rows;
  for (auto const& part : plan.parts) {
    for (auto const& f : part.fused) {
      if (f.times > 0) rows.push_back({part.program, text(f.times, " x"), f.pattern});
    }
  }
  return rows.empty() ? "fused: nothing\n" : "fused\n" + table(rows);
}

std::string work_text(Plan const& plan) {
  Rows rows{{"program", "steps", "flops", "bytes moved", "bytes sent"}};
  for (auto const& p : plan.shapes.front()->programs) {
    std::int64_t flops = 0, moved = 0, sent = 0;
    for (auto const& s : p.steps) {
      flops += s.flops;
      (program::is_communication(s.kind) ? sent : moved) += s.bytes;
    }
    rows.push_back({p.name, text(p.steps.size()), text(flops), text(moved), text(sent)});
  }
  return "work of one rank\n" + table(rows);
}

}  // namespace

std::string to_text(Plan const& plan) {
  auto const peak = peak_bytes(plan);
  std::string out = text("plan: ", name_of(plan.purpose), ", compute ", plan.config.precision.compute, ", threads ",
                         plan.machine.threads, " a rank\n");
  out += mesh_text(plan) + groups_text(plan) + batch_text(plan);
  out += layers_text(plan, plan.parts.front());
  out += gradients_text(plan) + fused_text(plan) + work_text(plan);
  return out + text("peak: ", peak, " bytes a rank (", human_bytes(peak), ")\n");
}

}  // namespace lamina::plan
