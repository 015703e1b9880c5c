#include "lamina/plan/plan.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/optimizer.hpp"
#include "plan/detail/check.hpp"
#include "plan/detail/copies.hpp"
#include "plan/detail/parts.hpp"
#include "plan/detail/plan.hpp"
#include "plan/detail/timeline.hpp"
#include "plan/detail/traffic.hpp"

namespace lamina::plan {
namespace {

[[noreturn]] void fail_empty(std::string_view what) {
  fail({.code = "plan.graphs.empty",
        .subject = "the graphs of the run",
        .found = text("no ", what, " graph"),
        .expected = text("a ", what, " graph for this purpose"),
        .fix = "build it with models::build first"});
}

void require_sound(Plan const& plan) {
  auto const why = mismatch(lower_all(plan));
  if (why.empty()) return;
  fail({.code = "plan.verify.problem",
        .subject = "the planned programs do not pass their own verification",
        .found = why,
        .expected = "no problem",
        .fix = "this is a bug in Lamina: report it with the run file"});
}

graph::Graph const& main_graph(Graphs const& graphs, Purpose purpose) {
  switch (purpose) {
    case Purpose::train:
      if (graphs.train.nodes().empty()) fail_empty("train");
      return graphs.train;
    case Purpose::eval:
      if (graphs.eval.nodes().empty()) fail_empty("eval");
      return graphs.eval;
    case Purpose::generate:
      break;
  }
  if (graphs.prefill.nodes().empty() && graphs.decode.nodes().empty()) fail_empty("prefill or decode");
  return graphs.prefill.nodes().empty() ? graphs.decode : graphs.prefill;
}

}  // namespace

Part const* Plan::find_part(std::string_view program) const {
  auto const found = std::find_if(parts.begin(), parts.end(), [&](Part const& p) { return p.program == program; });
  return found == parts.end() ? nullptr : &*found;
}

TensorSpec Plan::local_spec(Part const& part, int value, int form) const {
  auto const& v = part.graph.value(value);
  auto const& layout = form < 0 ? part.layouts.values[static_cast<std::size_t>(value)]
                                : part.layouts.forms[static_cast<std::size_t>(form)].layout;
  return {v.spec.dtype, local_shape(v, layout, mesh)};
}

namespace {

std::size_t most_actions(Plan const& plan) {
  std::size_t most = 0;
  for (auto const& [micro_batches, schedule] : plan.parts.front().schedules) {
    for (auto const& actions : schedule.actions) most = std::max(most, actions.size());
  }
  return most;
}

}  // namespace

void lower_kinds(Plan& plan) {
  plan.shapes.clear();
  for (auto const& kind : plan.kinds) {
    plan.shapes.push_back(std::make_shared<program::Template const>(lower_kind(plan, kind)));
  }
}

std::shared_ptr<Plan> draft(Graphs const& graphs, config::RunConfig const& config, std::int64_t world,
                            Machine const& machine, Purpose purpose) {
  auto plan = std::make_shared<Plan>();
  plan->config = config;
  plan->machine = machine;
  plan->machine.packs_weights = machine.packs_weights && !plan->canonical();
  plan->purpose = purpose;
  plan->mesh = make_mesh(config.mesh, world);
  plan->config.mesh.dp = plan->mesh.size("dp");
  plan->zero = plan->mesh.size("dp") > 1 && purpose != Purpose::generate ? static_cast<int>(config.parallel.zero) : 0;
  require_request(*plan, graphs);
  plan->micro_batches = replica_micro_batches(plan->config);
  auto const& main = main_graph(graphs, purpose);
  assign_stages(*plan, main);
  if (purpose == Purpose::train) add_part(*plan, "forward_backward", graphs.train);
  if (purpose != Purpose::generate) add_part(*plan, "eval", graphs.eval);
  if (purpose == Purpose::generate)
    add_part(*plan, "prefill", graphs.prefill), add_part(*plan, "decode", graphs.decode);
  plan->masters = find_masters(*plan);
  make_kinds(*plan);
  lower_kinds(*plan);
  // An order of actions can be sound and yet lock up where ranks wait so soon for their sends to have left.
  bool const pipelined = purpose == Purpose::train && plan->mesh.size("pp") > 1;
  while (pipelined && plan->send_lag > 0 && locks_up(*plan)) {
    plan->send_lag = 2 * plan->send_lag < most_actions(*plan) ? 2 * plan->send_lag : 0;
    lower_kinds(*plan);
  }
  return plan;
}

std::shared_ptr<Plan const> make(Graphs const& graphs, config::RunConfig const& config, std::int64_t world,
                                 Machine const& machine, Purpose purpose) {
  auto plan = draft(graphs, config, world, machine, purpose);
  require_memory(*plan);
  require_sound(*plan);
  plan->notes = notes_of(*plan);
  return plan;
}

program::ProgramSet lower(Plan const& plan, int rank) {
  if (rank < 0 || rank >= plan.mesh.world()) {
    fail({.code = "plan.rank.range",
          .subject = "the rank to lower",
          .found = text(rank),
          .expected = text("0 to ", plan.mesh.world() - 1),
          .fix = "name a rank of the planned world"});
  }
  return {plan.shapes[static_cast<std::size_t>(plan.shape_of(rank))], plan.binding(rank)};
}

std::vector<program::ProgramSet> lower_all(Plan const& plan) {
  std::vector<program::ProgramSet> all;
  for (int rank = 0; rank < plan.mesh.world(); ++rank) all.push_back(lower(plan, rank));
  return all;
}

std::int64_t rank_bytes(Plan const& plan, int rank) {
  return kind_bytes(plan, static_cast<std::size_t>(plan.shape_of(rank)));
}

std::int64_t peak_bytes(Plan const& plan) {
  std::int64_t peak = 0;
  for (std::size_t k = 0; k < plan.shapes.size(); ++k) peak = std::max(peak, kind_bytes(plan, k));
  return peak;
}

std::uint64_t hash(Plan const& plan) { return program::hash(lower_all(plan)); }

bool counts_loss(Plan const& plan, int rank) {
  auto const& part = plan.parts.front();
  for (auto const& v : part.graph.values()) {
    if (v.role != Role::output || v.producer >= 0) continue;
    for (auto const& n : part.graph.nodes()) {
      for (int const o : n.out) {
        if (part.graph.value(o).accumulates_into != v.id) continue;
        int const stage = part.stages[static_cast<std::size_t>(n.id)];
        if (plan.at[static_cast<std::size_t>(stage)] != plan.coordinate(rank, "pp")) return false;
        for (std::size_t a = 0; a < plan.mesh.axes.size(); ++a) {
          auto const& axis = plan.mesh.axes[a];
          bool const replicated = part.layouts.at(v.id, -1, a).split == Split::replicate && axis != "pp";
          if (replicated && plan.coordinate(rank, axis) != 0) return false;
        }
        return true;
      }
    }
  }
  return false;
}

std::string mismatch(std::vector<program::ProgramSet> const& programs) {
  auto const problems = program::verify(programs);
  if (problems.empty()) return "";
  auto const& p = problems.front();
  return text("rank ", p.rank, ", program ", p.program, ", step ", p.step, " (", p.rule, "): ", p.message);
}

}  // namespace lamina::plan
