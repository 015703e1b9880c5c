#include "plan/detail/parts.hpp"

#include <algorithm>

#include "lamina/graph/optimizer.hpp"
#include "plan/detail/canonical.hpp"
#include "plan/detail/recompute.hpp"
#include "plan/detail/split_head.hpp"
#include "plan/detail/stages.hpp"

namespace lamina::plan {
namespace {

// What a layer costs, in nanoseconds of a nominal machine: only the ratios matter.
constexpr std::int64_t flops_per_ns = 100, bytes_per_ns = 10;

std::vector<LayerCost> costs_of(graph::Graph const& graph) {
  std::map<std::string, std::int64_t> cost;
  for (auto const& n : graph.nodes()) {
    std::vector<TensorSpec> specs;
    for (int const v : n.in) specs.push_back(graph.value(v).spec);
    auto const c = n.op->cost(specs);
    cost[n.layer] += std::max(c.flops / flops_per_ns, c.bytes / bytes_per_ns);
  }
  std::vector<LayerCost> costs;
  for (auto const& l : graph.layers()) costs.push_back({l, cost[l], graph.is_optional(l)});
  return costs;
}

/// The vocabulary of the head is cut: no rank sees all logits of a row.
bool cuts_vocabulary(Plan const& plan, graph::Graph const& graph) {
  if (plan.mesh.size("tp") == 1) return false;
  return std::any_of(graph.nodes().begin(), graph.nodes().end(), [&](graph::Node const& n) {
    return n.op->kind() == "head_loss_stats" && plan.policy.cut_dim(graph, graph.value(n.in[1]), "tp") >= 0;
  });
}

/// Not over the border of a stage, and no activation into a product whose sum is cut.
bool may_fuse(Plan const& plan, graph::Graph const& graph, std::vector<int> const& nodes) {
  int const stage = plan.stage_of.at(graph.node(nodes.front()).layer);
  for (int const n : nodes) {
    auto const& node = graph.node(n);
    if (plan.stage_of.at(node.layer) != stage) return false;
    if (node.op->kind() != "linear" || plan.mesh.size("tp") == 1) continue;
    auto const& weight = graph.value(node.in[1]);
    int const outputs = weight.spec.shape.ndim() - static_cast<int>(node.op->attributes().integer("contract", 1));
    bool const alone = nodes.size() == 1;
    if (!alone && plan.policy.cut_dim(graph, weight, "tp") >= outputs) return false;
  }
  return true;
}

Schedule schedule_of(Plan const& plan, std::int64_t micro_batches) {
  auto const& p = plan.config.pipeline;
  auto const count = static_cast<int>(micro_batches);
  return p.schedule == "file" ? load_schedule(p.file, plan.at, count)
                              : make_schedule(p.schedule, plan.at, plan.mesh.size("pp"), count);
}

/// The graph with what the plan does in other ops than the model.
Fused rewrite(Plan const& plan, Part const& part, graph::Graph const& graph) {
  if (plan.canonical()) return {canonical(plan, graph), {}};
  auto const schedule = part.schedules.find(part.trains() ? plan.micro_batches.front() : -1);
  bool const split = schedule != part.schedules.end() && has_weight_actions(schedule->second);
  auto const cut = cuts_vocabulary(plan, graph) ? plan.mesh.size("tp") : 1;
  auto const source = split ? split_head(graph, plan.mesh.size("dp") * cut) : graph;
  if (!plan.config.parallel.fuse) return {source, {}};
  return fuse(source, cut > 1, [&](std::vector<int> const& nodes) { return may_fuse(plan, source, nodes); });
}

/// Nodes of the update belong to no stage; all others to that of their layer.
std::vector<int> stages_of(Plan const& plan, graph::Graph const& graph) {
  std::vector<int> stages;
  for (auto const& n : graph.nodes()) {
    stages.push_back(n.phase == graph::Phase::update ? -1 : plan.stage_of.at(n.layer));
  }
  return stages;
}

void note_holders(Plan& plan, Part const& part) {
  for (auto const& n : part.graph.nodes()) {
    if (n.phase == graph::Phase::update) continue;
    int const at = plan.at[static_cast<std::size_t>(part.stages[static_cast<std::size_t>(n.id)])];
    for (int const v : n.in) {
      auto const& value = part.graph.value(v);
      if (value.role != Role::parameter) continue;
      auto& holders = plan.holders[value.name];
      auto const place = std::lower_bound(holders.begin(), holders.end(), at);
      if (place == holders.end() || *place != at) holders.insert(place, at);
    }
  }
}

/// One micro-batch through the stages in their order.
Schedule forward_only(Plan const& plan) {
  Schedule s;
  s.name = "forward";
  s.coordinates = plan.mesh.size("pp");
  s.at = plan.at;
  s.actions.resize(static_cast<std::size_t>(s.coordinates));
  for (std::size_t k = 0; k < plan.at.size(); ++k) {
    s.actions[static_cast<std::size_t>(plan.at[k])].push_back({Action::Kind::forward, 0, static_cast<int>(k)});
  }
  return s;
}

}  // namespace

void assign_stages(Plan& plan, graph::Graph const& graph) {
  auto const& layers = graph.layers();
  auto const& p = plan.config.pipeline;
  plan.policy = make_policy(plan.config, plan.purpose, plan.mesh, graph);
  auto const assignment =
      assign_stages(costs_of(graph), p.stages, plan.mesh.size("pp"), static_cast<int>(p.stages_per_coordinate()));
  for (std::size_t l = 0; l < layers.size(); ++l) plan.stage_of[layers[l]] = assignment.stage[l];
  plan.at = assignment.at;
}

void add_part(Plan& plan, std::string program, graph::Graph const& graph) {
  if (graph.nodes().empty()) return;
  Part part;
  part.program = std::move(program);
  part.layers = graph.layers();
  if (part.trains()) {
    for (auto const m : plan.micro_batches) part.schedules.try_emplace(m, schedule_of(plan, m));
  } else {
    part.schedules.emplace(1, forward_only(plan));
  }
  auto fused = rewrite(plan, part, graph);
  part.graph = std::move(fused.graph);
  part.fused = std::move(fused.patterns);
  if (part.trains()) {
    auto const& memory = plan.config.memory;
    if (memory.recompute != "none") {
      auto const stage = [&](std::string const& layer) { return plan.stage_of.at(layer); };
      part.graph = recompute(part.graph, {memory.recompute, memory.recompute_layers, stage}).graph;
    }
    auto const& o = plan.config.optimizer;
    graph::append_optimizer(part.graph, {.kind = o.kind,
                                         .beta1 = o.beta1,
                                         .beta2 = o.beta2,
                                         .eps = o.eps,
                                         .weight_decay = o.weight_decay,
                                         .momentum = o.momentum});
  }
  part.layouts = propagate(part.graph, plan.mesh, plan.policy);
  part.stages = stages_of(plan, part.graph);
  note_holders(plan, part);
  plan.parts.push_back(std::move(part));
}

std::vector<std::int64_t> replica_micro_batches(config::RunConfig const& config) {
  std::vector<std::int64_t> counts;
  for (auto const samples : config::replica_samples(config)) {
    counts.push_back(std::max<std::int64_t>(1, (samples + config.batch.micro - 1) / config.batch.micro));
  }
  // Like replicas run alike: the last micro-batches of some may be padding.
  if (config.batch.shares.empty()) counts.assign(counts.size(), *std::max_element(counts.begin(), counts.end()));
  return counts;
}

}  // namespace lamina::plan
