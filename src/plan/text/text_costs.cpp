// --print plan: the pipeline in time, what moves over which link, what each kind of rank needs, the predicted step.
#include <algorithm>
#include <set>

#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "plan/detail/memory.hpp"
#include "plan/detail/sections.hpp"
#include "plan/detail/table.hpp"
#include "plan/detail/timeline.hpp"
#include "plan/detail/traffic.hpp"

namespace lamina::plan {
namespace {

using Rows = std::vector<std::vector<std::string>>;
constexpr std::size_t most_kinds = 16;
constexpr int chart_columns = 118;

std::string seconds(std::int64_t ns) { return human_seconds(static_cast<double>(ns) * 1e-9); }

std::string percent(double part) {
  auto const tenths = static_cast<std::int64_t>(part * 1000 + 0.5);
  return text(tenths / 10, ".", tenths % 10, " %");
}

std::int64_t persistent_bytes(program::Template const& shape) {
  std::int64_t bytes = 0;
  for (auto const& b : shape.buffers) bytes += b.program < 0 ? b.bytes : 0;
  return bytes;
}

}  // namespace

std::string pipeline_text(Plan const& plan, Prediction const& predicted, MachineModel const& machine) {
  if (plan.purpose != Purpose::train || plan.mesh.size("pp") == 1) return "";
  auto const& part = plan.parts.front();
  auto const m = plan.micro_batches[static_cast<std::size_t>(busiest_replica(plan))];
  auto const& schedule = part.schedules.at(m);
  auto const times = actions_of(plan, play(plan, "forward_backward", machine));
  auto out = text("pipeline: ", schedule.name, ", ", plan.at.size(), " stages at ", schedule.coordinates,
                  " coordinates, ", m, " micro-batches; time across, predicted\n");
  for (auto const& line : split(chart(schedule, times, chart_columns), '\n')) {
    if (!line.empty()) out += text("  ", line, "\n");
  }
  return out + text("  F forward, B backward", has_weight_actions(schedule) ? " (I for inputs, W for weights)" : "",
                    ", a number is the micro-batch, . waits; passes ", seconds(predicted.passes_ns), ", bubble ",
                    percent(predicted.bubble), "; in flight at most ", join(times.in_flight), "\n");
}

std::string traffic_text(Plan const& plan) {
  auto const all = traffic(plan);
  if (all.empty()) return "";
  Rows rows{{"link", "ranks", "what", "a rank's steps", "bytes a rank sends", "bytes of all"}};
  for (auto const& t : all) {
    rows.push_back({t.group, text(t.ranks), std::string(program::name_of(t.kind)), text(t.operations),
                    text(t.rank_bytes), text(t.bytes)});
  }
  return "bytes over each link in a step (of the rank that sends most, and of all groups of the name)\n" + table(rows);
}

std::string ranks_memory_text(Plan const& plan) {
  struct Row {
    std::vector<int> ranks;
    std::int64_t least = 0, most = 0;
    std::size_t fullest = 0;
  };
  bool const by_kind = plan.kinds.size() <= most_kinds;
  std::vector<Row> found;
  std::vector<int> row_of(plan.kinds.size());
  for (std::size_t k = 0; k < plan.kinds.size(); ++k) {
    auto const bytes = kind_bytes(plan, k);
    auto const same = [&](Row const& r) {
      return plan.kinds[r.fullest].stage == plan.kinds[k].stage && (!by_kind || r.most == bytes);
    };
    auto at = std::find_if(found.begin(), found.end(), same);
    if (at == found.end()) at = found.insert(at, {.ranks = {}, .least = bytes, .most = bytes, .fullest = k});
    if (bytes > at->most) at->most = bytes, at->fullest = k;
    at->least = std::min(at->least, bytes);
    row_of[k] = static_cast<int>(at - found.begin());
  }
  for (int r = 0; r < plan.mesh.world(); ++r) {
    found[static_cast<std::size_t>(row_of[static_cast<std::size_t>(plan.shape_of(r))])].ranks.push_back(r);
  }
  Rows rows{{"ranks", "pp", "persistent", "others", "communication", "peak", ""}};
  for (auto const& r : found) {
    auto const& shape = *plan.shapes[r.fullest];
    auto const kept = persistent_bytes(shape), scratch = communication_scratch_bytes(plan, r.fullest);
    rows.push_back({rank_list(r.ranks), text(plan.kinds[r.fullest].stage), text(kept), text(r.most - kept - scratch),
                    text(scratch), text(r.most),
                    text(human_bytes(r.most), r.least < r.most ? text(", the leanest ", r.least) : "")});
  }
  return "memory by kind of rank, in bytes\n" + table(rows);
}

std::string prediction_text(Plan const& plan, Prediction const& p, MachineModel const& machine) {
  if (plan.purpose != Purpose::train) return "";
  auto out = text("predicted step: ", seconds(p.step_ns));
  if (plan.mesh.world() > 1) {
    out += text("; one rank that does all of it: ", seconds(p.naive_ns),
                "; collectives that nothing hides: ", percent(p.exposed));
  }
  out += text("\n  assumed: ", to_text(machine), "; no noise, and what overlaps costs nothing\n");
  if (plan.mesh.world() > 1 && p.step_ns >= p.naive_ns) {
    out += text("warning: this split is predicted to be slower than one rank, by ", seconds(p.step_ns - p.naive_ns),
                " a step: larger layers, a larger batch.micro or fewer ranks help\n");
  }
  return out;
}

}  // namespace lamina::plan
