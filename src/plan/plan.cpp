#include "lamina/plan/plan.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/optimizer.hpp"
#include "plan/detail/check.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {
namespace {

void add_part(Plan& plan, std::string program, graph::Graph const& graph) {
  if (graph.nodes().empty()) return;
  Part part;
  part.program = std::move(program);
  for (auto const& n : graph.nodes()) {
    if (std::find(part.layers.begin(), part.layers.end(), n.layer) == part.layers.end()) part.layers.push_back(n.layer);
  }
  auto fused = plan.config.parallel.fuse ? fuse(graph) : Fused{graph, {}};
  part.graph = std::move(fused.graph);
  part.fused = std::move(fused.patterns);
  if (part.program == "forward_backward") {
    auto const& o = plan.config.optimizer;
    graph::append_optimizer(part.graph, {.kind = o.kind,
                                         .beta1 = o.beta1,
                                         .beta2 = o.beta2,
                                         .eps = o.eps,
                                         .weight_decay = o.weight_decay,
                                         .momentum = o.momentum});
  }
  part.layouts = propagate(part.graph, plan.mesh, plan.purpose);
  plan.parts.push_back(std::move(part));
}

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

}  // namespace

Part const* Plan::find_part(std::string_view program) const {
  auto const at = std::find_if(parts.begin(), parts.end(), [&](Part const& p) { return p.program == program; });
  return at == parts.end() ? nullptr : &*at;
}

TensorSpec Plan::local_spec(Part const& part, int value) const {
  auto const& v = part.graph.value(value);
  return {v.spec.dtype, local_shape(v, part.layouts.values[static_cast<std::size_t>(value)], mesh)};
}

int Plan::shape_of(int rank) const {
  if (shapes.size() == 1) return 0;
  auto const dp = static_cast<std::size_t>(mesh.find_axis("dp"));
  return mesh.coordinates(rank)[dp] == 0 ? 0 : 1;  // replicated gradients belong to their lowest holder
}

program::Binding Plan::binding(int rank) const {
  program::Binding b;
  b.rank = rank, b.world = mesh.world();
  b.axes = mesh.axes;
  b.coordinates = mesh.coordinates(rank);
  for (auto const& g : shapes.front()->groups)
    b.members.push_back(g.axis.empty() ? mesh.all() : mesh.members(g.axis, rank));
  return b;  // no slabs: every rank holds all of every parameter
}

std::shared_ptr<Plan const> make(Graphs const& graphs, config::RunConfig const& config, std::int64_t world,
                                 Machine const& machine, Purpose purpose) {
  auto plan = std::make_shared<Plan>();
  plan->config = config;
  plan->machine = machine;
  plan->purpose = purpose;
  plan->mesh = make_mesh(config.mesh, world);
  plan->config.mesh.dp = plan->mesh.size("dp");
  require_request(*plan, graphs);
  if (purpose == Purpose::train) {
    if (graphs.train.nodes().empty()) fail_empty("train");
    plan->micro_batches = config::micro_batches(plan->config);
    add_part(*plan, "forward_backward", graphs.train);
    plan->buckets = make_buckets(*plan, plan->parts.front(), config.parallel.bucket);
  }
  if (purpose != Purpose::generate) add_part(*plan, "eval", graphs.eval);
  if (purpose == Purpose::generate)
    add_part(*plan, "prefill", graphs.prefill), add_part(*plan, "decode", graphs.decode);
  if (plan->parts.empty()) fail_empty(purpose == Purpose::eval ? "eval" : "prefill or decode");
  plan->shapes.push_back(std::make_shared<program::Template const>(lower_shape(*plan, true)));
  if (purpose == Purpose::train && plan->mesh.size("dp") > 1) {
    plan->shapes.push_back(std::make_shared<program::Template const>(lower_shape(*plan, false)));
  }
  require_memory(*plan);
  require_sound(*plan);
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

std::int64_t peak_bytes(Plan const& plan) {
  std::int64_t peak = 0;
  for (auto const& shape : plan.shapes) {
    std::int64_t all = 0;
    for (auto const bytes : shape->arena_bytes) all += bytes;
    peak = std::max(peak, all);
  }
  return peak + communication_scratch_bytes(plan);
}

std::uint64_t hash(Plan const& plan) { return program::hash(lower_all(plan)); }

std::string mismatch(std::vector<program::ProgramSet> const& programs) {
  auto const problems = program::verify(programs);
  if (problems.empty()) return "";
  auto const& p = problems.front();
  return text("rank ", p.rank, ", program ", p.program, ", step ", p.step, " (", p.rule, "): ", p.message);
}

}  // namespace lamina::plan
