#pragma once

#include <cstdint>
#include <memory>

#include "lamina/models/models.hpp"
#include "lamina/plan/plan.hpp"

/// Small GPTs, planned: what the tests of `plan` and of what comes after it start from.
namespace lamina::test {

struct PlanCase {
  std::int64_t world = 1, micro = 2, global = 4;
  std::int64_t layers = 2, hidden = 16, heads = 2, tokens = 8, vocab = 40;
  double dropout = 0;
  bool tied = true, head_bias = false, bf16 = false, fuse = true, overlap = true, packs = true;
  std::int64_t bucket = 25 << 20;
  std::string optimizer = "adamw", norm = "pre", activation = "gelu";
  int threads = 2;
  std::int64_t tp = 1, pp = 1, zero = 0, chunks = 1;  // dp: what is left of the world
  bool sequence_parallel = true;
  std::string schedule = "1f1b", recompute = "none";
};

inline config::RunConfig plan_config(PlanCase const& c) {
  config::RunConfig config;
  config.run.dir = "runs/test";
  config.model.kind = "gpt";
  config.model.layers = c.layers, config.model.hidden = c.hidden, config.model.heads = c.heads;
  config.model.context = c.tokens, config.model.vocab = c.vocab;
  config.model.dropout = c.dropout, config.model.tied = c.tied, config.model.head_bias = c.head_bias;
  config.model.norm = c.norm, config.model.activation = c.activation;
  config.batch.global = c.global, config.batch.micro = c.micro;
  config.precision.compute = c.bf16 ? "bf16" : "f32";
  config.parallel.fuse = c.fuse, config.parallel.overlap = c.overlap, config.parallel.bucket = c.bucket;
  config.optimizer.kind = c.optimizer;
  config.mesh.tp = c.tp, config.mesh.pp = c.pp;
  config.parallel.zero = c.zero, config.parallel.sequence_parallel = c.sequence_parallel;
  config.pipeline.schedule = c.schedule, config.pipeline.chunks = c.chunks;
  config.memory.recompute = c.recompute;
  config::resolve(config, c.world);
  return config;
}

inline plan::Graphs plan_graphs(PlanCase const& c, plan::Purpose purpose) {
  auto const config = plan_config(c);
  auto const compute = c.bf16 ? DType::bf16 : DType::f32;
  auto const build = [&](models::Mode mode, std::int64_t batch, std::int64_t tokens) {
    return models::build(config.model, {mode, batch, tokens, c.tokens, compute});
  };
  plan::Graphs graphs;
  auto const batch = config.mesh.dp * c.micro;
  if (purpose == plan::Purpose::train) graphs.train = build(models::Mode::train, batch, c.tokens);
  if (purpose != plan::Purpose::generate) graphs.eval = build(models::Mode::eval, batch, c.tokens);
  if (purpose != plan::Purpose::generate) return graphs;
  graphs.prefill = build(models::Mode::prefill, 1, c.tokens);
  graphs.decode = build(models::Mode::decode, 1, 1);
  return graphs;
}

inline plan::Machine plan_machine(PlanCase const& c) {
  return {.threads = c.threads, .memory_bytes = 0, .packs_weights = c.packs};
}

inline std::shared_ptr<plan::Plan const> make_plan(PlanCase const& c, plan::Purpose purpose = plan::Purpose::train) {
  return plan::make(plan_graphs(c, purpose), plan_config(c), c.world, plan_machine(c), purpose);
}

inline program::ProgramSet set_of(PlanCase const& c, int rank = 0, plan::Purpose purpose = plan::Purpose::train) {
  return lower(*make_plan(c, purpose), rank);
}

inline std::vector<program::Step> steps_of(program::ProgramSet const& set, std::string_view program,
                                           std::string_view op) {
  std::vector<program::Step> found;
  for (auto const& s : set.shape->find_program(program)->steps) {
    if (s.op == op) found.push_back(s);
  }
  return found;
}

}  // namespace lamina::test
