// --print plan: who is in which group, and what each layer is.
#include <algorithm>
#include <map>
#include <set>

#include "lamina/base/text.hpp"
#include "plan/detail/sections.hpp"
#include "plan/detail/table.hpp"
#include "plan/detail/traffic.hpp"

namespace lamina::plan {
namespace {

using Rows = Table;
constexpr std::size_t most_pieces = 8, most_lists = 16, first_shown = 3;

/// The layer whose path is the longest prefix of a parameter's name.
std::string layer_of(std::string const& parameter, std::map<std::string, std::int64_t> const& layers) {
  auto path = parameter;
  while (!layers.contains(path)) {
    auto const dot = path.rfind('.');
    if (dot == std::string::npos) return "";
    path.resize(dot);
  }
  return path;
}

std::map<std::string, std::int64_t> parameters_of(Part const& part) {
  std::map<std::string, std::int64_t> count;
  for (auto const& l : part.layers) count[l] = 0;
  for (int const id : part.graph.parameters()) {
    auto const& v = part.graph.value(id);
    if (auto const layer = layer_of(v.name, count); !layer.empty()) count[layer] += v.spec.count();
  }
  return count;
}

/// Local bytes of what a layer's forward hands to the forward of other layers.
std::map<std::string, std::int64_t> bytes_leaving(Plan const& plan, Part const& part) {
  std::set<int> leaving;
  std::map<std::string, std::int64_t> bytes;
  for (auto const& n : part.graph.nodes()) {
    if (n.phase != graph::Phase::forward) continue;
    for (int const v : n.in) {
      int const producer = part.graph.value(v).producer;
      if (producer < 0 || part.graph.node(producer).layer == n.layer || !leaving.insert(v).second) continue;
      bytes[part.graph.node(producer).layer] += plan.local_spec(part, v).bytes();
    }
  }
  return bytes;
}

}  // namespace

std::string rank_list(std::vector<int> const& sorted) {
  if (sorted.size() > 3) {
    int const by = sorted[1] - sorted[0];
    bool even = by > 1;
    for (std::size_t i = 2; even && i < sorted.size(); ++i) even = sorted[i] - sorted[i - 1] == by;
    if (even) return text(sorted.front(), "-", sorted.back(), " by ", by);
  }
  auto const all = split(ranges(sorted), ' ');
  if (all.size() <= most_pieces) return join(all, " ");
  std::vector<std::string> const first(all.begin(), all.begin() + first_shown);
  return text(join(first, " "), " ... ", all.back(), " (", sorted.size(), " ranks)");
}

std::vector<int> ranks_at(Plan const& plan, std::vector<int> const* coordinates, int kind) {
  std::vector<int> ranks;
  for (int r = 0; r < plan.mesh.world(); ++r) {
    int const c = plan.coordinate(r, "pp");
    bool const there =
        coordinates == nullptr || std::find(coordinates->begin(), coordinates->end(), c) != coordinates->end();
    if (there && (kind < 0 || plan.shape_of(r) == kind)) ranks.push_back(r);
  }
  return ranks;
}

Table group_table(Plan const& plan) {
  // Every group once, from the rank of its lowest coordinates.
  std::vector<program::Group> groups;
  std::map<std::string, std::set<std::vector<int>>> members;
  for (int r = 0; r < plan.mesh.world(); ++r) {
    for (auto const& group : plan.shapes[static_cast<std::size_t>(plan.shape_of(r))]->groups) {
      auto& mine = members[group.name];
      if (mine.empty()) groups.push_back(group);
      bool const known = group.axis.empty() ? !mine.empty() : group.axis != "pp" && plan.coordinate(r, group.axis) > 0;
      if (!known) mine.insert(plan.members(group, r));
    }
  }
  std::sort(groups.begin(), groups.end(), [](auto const& a, auto const& b) {
    return std::pair(group_order(a.name), a.name) < std::pair(group_order(b.name), b.name);
  });
  Rows rows{{"name", "axis", "transport", "ranks"}};
  for (auto const& g : groups) {
    auto const& sets = members[g.name];
    std::vector<std::string> lists;
    for (auto const& s : sets) lists.push_back(text("{", rank_list(s), "}"));
    if (lists.size() > most_lists) {
      auto const last = lists.back();
      lists.resize(first_shown);
      lists.push_back("...");
      lists.push_back(text(last, " (", sets.size(), " groups)"));
    }
    rows.push_back(
        {g.name, g.axis.empty() ? "all" : g.axis, std::string(program::name_of(g.transport)), join(lists, " ")});
  }
  return rows;
}

std::string groups_text(Plan const& plan) {
  auto const rows = group_table(plan);
  return rows.size() == 1 ? "groups: none\n" : "groups\n" + table(rows);
}

Table layer_table(Plan const& plan) {
  auto const& part = plan.parts.front();
  std::map<std::string, int> output;
  for (auto const& n : part.graph.nodes()) {
    if (n.phase == graph::Phase::forward) output[n.layer] = n.out.front();
  }
  auto const parameters = parameters_of(part);
  auto leaving = bytes_leaving(plan, part);
  auto mesh = plan.mesh;  // layouts are those of one stage
  if (int const a = mesh.find_axis("pp"); a >= 0) mesh.sizes[static_cast<std::size_t>(a)] = 1;
  std::map<int, std::string> ranks;  // by pp coordinate
  for (int c = 0; c < plan.mesh.size("pp"); ++c) {
    std::vector<int> const one{c};
    ranks[c] = rank_list(ranks_at(plan, &one));
  }
  Rows rows{{"layer", "output", "parameters", "device", "stage", "ranks", "layout", "bytes leaving"}};
  for (auto const& layer : part.layers) {
    auto const at = output.find(layer);
    bool const fused = at == output.end();  // its forward is part of the layer before it, or nothing
    auto const spec = fused ? "fused" : text(plan.local_spec(part, at->second));
    auto const layout = fused ? "" : to_text(part.layouts.values[static_cast<std::size_t>(at->second)], mesh);
    int const stage = plan.stage_of.at(layer);
    rows.push_back({layer, spec, text(parameters.at(layer)), "cpu", text(stage),
                    ranks[plan.at[static_cast<std::size_t>(stage)]], layout, text(leaving[layer])});
  }
  return rows;
}

std::string layers_text(Plan const& plan) {
  auto const& part = plan.parts.front();
  std::int64_t all = 0;
  for (int const id : part.graph.parameters()) all += part.graph.value(id).spec.count();
  return text("layers of ", part.program, ": ", all, " parameters (shapes of one rank, one micro-batch)\n",
              table(layer_table(plan)));
}

}  // namespace lamina::plan
