#include "lamina/base/text.hpp"

#include <algorithm>
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
  auto const& groups = plan.shapes.front()->groups;
  if (groups.empty()) return "groups: none\n";
  Rows rows{{"name", "axis", "transport", "ranks"}};
  for (auto const& g : groups) {
    std::set<std::vector<int>> sets;
    if (g.axis.empty()) sets.insert(plan.mesh.all());
    for (int r = 0; r < plan.mesh.world() && !g.axis.empty(); ++r) {
      auto members = plan.mesh.members(g.axis, r);
      if (members.front() == r) sets.insert(std::move(members));
    }
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
  return text("batch: ", b.global, " samples a step = ", plan.mesh.size("dp"), " replicas x ", plan.micro_batches,
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

std::string buckets_text(Plan const& plan) {
  if (plan.buckets.empty()) return "";
  auto const& part = plan.parts.front();
  bool const reduced = plan.mesh.size("dp") > 1;
  Rows rows{{"bucket", "gradients", "bytes", "first", "complete after"}};
  for (std::size_t b = 0; b < plan.buckets.size(); ++b) {
    auto const& bucket = plan.buckets[b];
    auto const& node = part.graph.node(bucket.complete);
    rows.push_back({text(b), text(bucket.gradients.size()), text(bucket.bytes),
                    part.graph.value(bucket.gradients.front()).name, text(node.layer, ".", node.op->kind())});
  }
  auto const how = !reduced                       ? "whole on the one replica"
                   : plan.config.parallel.overlap ? "all-reduced over dp while the backward goes on"
                                                  : "all-reduced over dp after the backward";
  return text("gradients: ", how, "\n", table(rows));
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
  out += buckets_text(plan) + fused_text(plan) + work_text(plan);
  return out + text("peak: ", peak, " bytes a rank (", human_bytes(peak), ")\n");
}

}  // namespace lamina::plan
