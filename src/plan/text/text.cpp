#include "lamina/base/text.hpp"

#include <map>
#include <set>

#include "lamina/base/units.hpp"
#include "plan/detail/pass.hpp"
#include "plan/detail/sections.hpp"
#include "plan/detail/table.hpp"
#include "plan/detail/timeline.hpp"

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

std::string batch_text(Plan const& plan) {
  if (plan.purpose == Purpose::generate) return "";
  auto const& b = plan.config.batch;
  if (plan.purpose == Purpose::eval)
    return text("batch: ", plan.mesh.size("dp"), " replicas, ", b.micro, " samples each\n");
  std::set<std::int64_t> const counts(plan.micro_batches.begin(), plan.micro_batches.end());
  return text("batch: ", b.global, " samples a step = ", plan.mesh.size("dp"), " replicas x ",
              counts.size() == 1 ? text(*counts.begin()) : text(join(plan.micro_batches)), " micro-batches x up to ",
              b.micro, " samples\n");
}

/// Calls `describe(coordinate, template, actions, nodes of actions)` for each pp coordinate of one replica in training.
template <class F>
void for_each_coordinate(Plan const& plan, F const& describe) {
  auto const& part = plan.parts.front();
  auto const nodes = make_node_table(part, plan.at.size());
  auto const replica = busiest_replica(plan);
  auto const& schedule = part.schedules.at(plan.micro_batches[static_cast<std::size_t>(replica)]);
  for (int c = 0; c < plan.mesh.size("pp"); ++c) {
    describe(c, *plan.shapes[kind_at(plan, c, replica)], schedule.actions[static_cast<std::size_t>(c)], nodes);
  }
}

std::string gradients_text(Plan const& plan) {
  if (plan.purpose != Purpose::train) return "";
  Rows rows{{"pp", "how", "gradients", "bytes"}};
  for_each_coordinate(plan, [&](int c, program::Template const& shape, auto const& actions, auto const& nodes) {
    std::map<std::string, std::pair<std::size_t, std::int64_t>> groups;
    for (auto const& s : shape.find_program("forward_backward")->steps) {
      bool const reduces = s.kind == program::StepKind::all_reduce || s.kind == program::StepKind::reduce_scatter;
      if (!reduces || !s.layer.starts_with("bucket.")) continue;
      auto const& group = shape.groups[static_cast<std::size_t>(s.group)];
      auto& sum = groups[text(program::name_of(s.kind), " over ", group.name)];
      sum.first += s.in.size(), sum.second += s.bytes;
    }
    for (auto const& [how, sum] : groups) rows.push_back({text(c), how, text(sum.first), text(sum.second)});
    auto const late = find_late_sums(plan, plan.parts.front(), actions, nodes);
    if (!late.where.empty()) {
      rows.push_back({text(c), "last addends, summed over all replicas' tokens",
                      text(late.alone.size() + late.before.size()), text(late.gathered_bytes)});
    }
  });
  if (rows.size() == 1) return "gradients: whole on every rank that holds them\n";
  auto const when = plan.zero >= 2                 ? "after every micro-batch"
                    : plan.config.parallel.overlap ? "while the last backward goes on"
                                                   : "after the backward";
  return text("gradients: reduced ", when, "\n", table(rows));
}

/// Who updates rows only gathers the others (ZeRO).
std::string parameters_text(Plan const& plan) {
  if (plan.purpose != Purpose::train || plan.zero == 0) return "";
  Rows rows{{"pp", "when", "parameters", "bytes"}};
  for_each_coordinate(plan, [&](int c, program::Template const& shape, auto const& actions, auto const& nodes) {
    auto const add = [&](char const* program, std::string when) {
      std::size_t count = 0;
      std::int64_t bytes = 0;
      for (auto const& s : shape.find_program(program)->steps) {
        if (s.kind != program::StepKind::all_gather || s.attributes.integer("flat", 0) == 0) continue;
        count += s.out.size(), bytes += s.bytes;
      }
      if (count > 0) rows.push_back({text(c), std::move(when), text(count), text(bytes)});
    };
    add("update", "beneath the update");
    add("forward_backward", plan.zero == 3 ? "for every block that reads them" : "beneath the next forward");
    auto const first = find_first_lookups(plan, plan.parts.front(), actions, nodes);
    if (first.nodes.empty()) return;
    rows.push_back({text(c), "words of the first micro-batch, looked up in the rows of all replicas",
                    text(first.tables.size()), text(first.moved_bytes)});
  });
  return text("parameters: updated by rows, the others' rows gathered\n", table(rows));
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

/// Of a rank of each pp coordinate; with stages only of what every step does.
std::string work_text(Plan const& plan) {
  Rows rows{{"pp", "program", "steps", "flops", "bytes moved", "bytes sent"}};
  for (int c = 0; c < plan.mesh.size("pp"); ++c) {
    for (auto const& p : plan.shapes[kind_at(plan, c, busiest_replica(plan))]->programs) {
      if (plan.mesh.size("pp") > 1 && p.name != "forward_backward" && p.name != "update") continue;
      std::int64_t flops = 0, moved = 0, sent = 0;
      for (auto const& s : p.steps) {
        flops += s.flops;
        (program::is_communication(s.kind) ? sent : moved) += s.bytes;
      }
      rows.push_back({text(c), p.name, text(p.steps.size()), text(flops), text(moved), text(sent)});
    }
  }
  return "work of one rank\n" + table(rows);
}

}  // namespace

std::string schedule_text(Plan const& plan) {
  auto const replica = static_cast<std::size_t>(busiest_replica(plan));
  return to_text(plan.parts.front().schedules.at(plan.micro_batches[replica]));
}

std::string to_text(Plan const& plan) {
  auto const peak = peak_bytes(plan);
  auto const machine = assumed_machine(plan);
  auto const predicted = predict(plan, machine);
  std::string out = text("plan: ", name_of(plan.purpose), ", compute ", plan.config.precision.compute,
                         plan.canonical() ? ", canonical" : "", ", threads ", plan.machine.threads, " a rank\n");
  out += mesh_text(plan) + groups_text(plan) + batch_text(plan);
  out += layers_text(plan);
  out += pipeline_text(plan, predicted, machine) + gradients_text(plan) + parameters_text(plan) + fused_text(plan) +
         work_text(plan);
  out += traffic_text(plan) + ranks_memory_text(plan) + prediction_text(plan, predicted, machine);
  for (auto const& note : plan.notes) out += text("note: ", note, "\n");
  return out + text("peak: ", peak, " bytes a rank (", human_bytes(peak), ")\n");
}

}  // namespace lamina::plan
