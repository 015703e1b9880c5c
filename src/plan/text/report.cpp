#include <algorithm>
#include <cstdio>

#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "plan/detail/memory.hpp"
#include "plan/detail/plan.hpp"
#include "plan/detail/table.hpp"

namespace lamina::plan {
namespace {

using Rows = std::vector<std::vector<std::string>>;

struct Line {
  std::string_view what;
  std::vector<Role> roles;
};

std::vector<Line> const& persistent_lines() {
  static std::vector<Line> const lines{{"parameters", {Role::parameter}},
                                       {"gradients", {Role::gradient}},
                                       {"moments", {Role::moment1, Role::moment2}},
                                       {"packed weights", {Role::packed}},
                                       {"caches", {Role::cache}},
                                       {"inputs and outputs", {Role::input, Role::output}}};
  return lines;
}

/// 1.0123: parts in ten thousand, by integers, rounded up.
std::string ratio_text(std::int64_t a, std::int64_t b) {
  if (b == 0) return "1.0000";
  auto const r = (a * 10000 + b - 1) / b;
  auto const fraction = text(10000 + r % 10000);
  return text(r / 10000, ".", fraction.substr(1));
}

std::string space_text(program::Template const& shape, program::Space space) {
  auto const bound = liveness_bound(shape, space);
  auto const arena = shape.arena_bytes[static_cast<std::size_t>(space)];
  std::int64_t persistent = 0;
  Rows rows;
  for (auto const& line : persistent_lines()) {
    std::int64_t bytes = 0, count = 0;
    for (auto const& b : shape.buffers) {
      bool const mine = std::find(line.roles.begin(), line.roles.end(), b.role) != line.roles.end();
      if (b.program < 0 && b.space == space && mine) bytes += b.bytes, ++count;
    }
    persistent += bytes;
    rows.push_back({std::string(line.what), text(bytes), human_bytes(bytes), text(count, " buffers")});
  }
  rows.push_back({"persistent", text(persistent), human_bytes(persistent), ""});
  auto out = text("space ", program::name_of(space), "\n", table(rows));

  rows = {{"program", "activations", "messages", "scratch", "in use", "overlap", "arena", "at step"}};
  for (std::size_t p = 0; p < shape.programs.size(); ++p) {
    std::int64_t end = persistent;
    for (auto const& b : shape.buffers) {
      if (b.program == static_cast<int>(p) && b.space == space) end = std::max(end, b.offset + b.bytes);
    }
    auto const role = [&](Role r) { return text(bound.roles[p][static_cast<std::size_t>(r)]); };
    int const s = bound.step[p];
    auto const& steps = shape.programs[p].steps;
    auto const where =
        s < 0 ? "" : text(s, " ", steps[static_cast<std::size_t>(s)].layer, " ", steps[static_cast<std::size_t>(s)].op);
    auto uses = lifetimes(shape, static_cast<int>(p));
    for (std::size_t b = 0; b < uses.size(); ++b) uses[b].bytes = shape.buffers[b].space == space ? uses[b].bytes : 0;
    auto const live = live_bytes(uses, 1);
    rows.push_back({shape.programs[p].name, role(Role::activation), role(Role::message), role(Role::scratch),
                    text(bound.transient[p]), text(std::max<std::int64_t>(0, live - bound.transient[p])),
                    text(end - persistent), where});
  }
  out += "  beside them, at the fullest step of each program:\n" + table(rows);
  return out + text("  peak ", arena, " bytes (", human_bytes(arena), "), lower bound ", bound.peak(), ", ratio ",
                    ratio_text(arena, bound.peak()), "\n");
}

std::string scratch_text(Plan const& plan, std::size_t kind) {
  auto const all = communication_scratch_bytes(plan, kind);
  if (all == 0) return "communication scratch: none\n";
  Rows rows{{"group", "ranks", "bytes"}};
  for (auto const& g : communication_scratch(plan, kind)) rows.push_back({g.group, text(g.ranks), text(g.bytes)});
  return text("communication scratch: ", all, " bytes (", human_bytes(all), "), for what exchanges receive and pack\n",
              table(rows));
}

}  // namespace

std::string memory_text(Plan const& plan, int rank) {
  auto const set = lower(plan, rank);
  std::string out = text("memory of rank ", rank, " in bytes\n");
  for (std::size_t s = 0; s < set.shape->arena_bytes.size(); ++s) {
    if (set.shape->arena_bytes[s] > 0) out += space_text(*set.shape, static_cast<program::Space>(s));
  }
  auto const kind = static_cast<std::size_t>(plan.shape_of(rank));
  out += scratch_text(plan, kind);
  auto const total = kind_bytes(plan, kind);
  return out + text("total: ", total, " bytes (", human_bytes(total), ")\n");
}

}  // namespace lamina::plan
