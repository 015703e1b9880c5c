#include "lamina/train/resume.hpp"

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::train {
namespace {

std::string written(config::RunConfig const& config, char const* key) {
  auto value = config::value_of(config, key);
  return value.empty() ? "nothing" : value;
}

}  // namespace

ResumeChanges check_resume(config::RunConfig const& before, config::RunConfig const& now,
                           TokenizerHashes const& tokenizer) {
  std::vector<ErrorInfo> problems;
  auto const refuse = [&](char const* code, char const* key, auto const& old, auto const& fresh) {
    if (old == fresh) return;
    problems.push_back({.code = text("train.resume.", code),
                        .subject = text(key, " of ", now.run.dir),
                        .found = text(fresh, " now, ", old, " in the checkpoint"),
                        .expected = "the value of the checkpoint: the run could not go on as the same run",
                        .fix = text("put ", key, " back, choose another run.dir, or start anew with --fresh")});
  };
  auto const &a = before.model, &b = now.model;
  refuse("model", "model.kind", a.kind, b.kind);
  refuse("model", "model.layers", a.layers, b.layers);
  refuse("model", "model.hidden", a.hidden, b.hidden);
  refuse("model", "model.heads", a.heads, b.heads);
  refuse("model", "model.context", a.context, b.context);
  refuse("model", "model.vocab", a.vocab, b.vocab);
  refuse("model", "model.ff", a.ff, b.ff);
  refuse("model", "model.norm", a.norm, b.norm);
  refuse("model", "model.activation", a.activation, b.activation);
  refuse("model", "model.causal", a.causal, b.causal);
  refuse("model", "model.positions", a.positions, b.positions);
  refuse("model", "model.tied", a.tied, b.tied);
  refuse("model", "model.head_bias", a.head_bias, b.head_bias);
  refuse("model", "model.input", join(a.input), join(b.input));
  refuse("model", "model.loss", a.loss, b.loss);
  if (a.network != b.network) refuse("model", "model.layers", std::string("other layers"), std::string("changed"));
  if (a.custom != b.custom)
    refuse("model", "the model's own keys", std::string("other values"), std::string("changed"));
  refuse("tokenizer", "data.tokenizer", before.data.tokenizer, now.data.tokenizer);
  bool const same_name = before.data.tokenizer == now.data.tokenizer;
  if (same_name && !tokenizer.before.empty() && !tokenizer.now.empty() && tokenizer.before != tokenizer.now) {
    problems.push_back({.code = "train.resume.tokenizer",
                        .subject = text("data.tokenizer '", now.data.tokenizer, "' of ", now.run.dir),
                        .found = text("a file of hash ", tokenizer.now, ": its content has changed"),
                        .expected = text("hash ", tokenizer.before,
                                         ", as in the checkpoint: other ids for the same "
                                         "text would make the weights worthless"),
                        .fix = "restore the file, choose another run.dir, or start anew with --fresh"});
  }
  refuse("optimizer", "optimizer.kind", before.optimizer.kind, now.optimizer.kind);
  refuse("seed", "run.seed", before.run.seed, now.run.seed);
  fail_if_any(problems);

  ResumeChanges changes;
  auto const note = [](std::vector<std::string>& list, char const* key, auto const& old, auto const& fresh) {
    if (old != fresh) list.push_back(text(key, " changed from ", old, " to ", fresh, " since the checkpoint"));
  };
  auto const accept = [&](char const* key, auto const& old, auto const& fresh) {
    note(changes.accepted, key, old, fresh);
  };
  auto const warn = [&](char const* key, auto const& old, auto const& fresh) {
    note(changes.warnings, key, old, fresh);
  };
  accept("run.steps", before.run.steps, now.run.steps);
  accept("mesh.dp", before.mesh.dp, now.mesh.dp);
  accept("mesh.tp", before.mesh.tp, now.mesh.tp);
  accept("mesh.pp", before.mesh.pp, now.mesh.pp);
  accept("mesh.order", join(before.mesh.order), join(now.mesh.order));
  accept("precision.compute", before.precision.compute, now.precision.compute);
  accept("parallel.zero", before.parallel.zero, now.parallel.zero);
  accept("placement.default", before.placement.default_device, now.placement.default_device);
  accept("batch.micro", before.batch.micro, now.batch.micro);
  accept("pipeline.schedule", before.pipeline.schedule, now.pipeline.schedule);
  for (auto const* key : {"pipeline.chunks", "pipeline.stages", "pipeline.file", "parallel.sequence_parallel",
                          "parallel.split", "batch.shares", "memory.recompute", "run.determinism"}) {
    accept(key, written(before, key), written(now, key));
  }

  auto const &old = before.optimizer, &fresh = now.optimizer;
  warn("optimizer.lr", old.lr, fresh.lr);
  warn("optimizer.betas", text(old.beta1, ", ", old.beta2), text(fresh.beta1, ", ", fresh.beta2));
  warn("optimizer.momentum", old.momentum, fresh.momentum);
  warn("optimizer.eps", old.eps, fresh.eps);
  warn("optimizer.weight_decay", old.weight_decay, fresh.weight_decay);
  warn("optimizer.clip_norm", old.clip_norm, fresh.clip_norm);
  warn("lr_schedule.kind", before.lr_schedule.kind, now.lr_schedule.kind);
  warn("lr_schedule.warmup_steps", before.lr_schedule.warmup_steps, now.lr_schedule.warmup_steps);
  warn("lr_schedule.decay_steps", before.lr_schedule.decay_steps, now.lr_schedule.decay_steps);
  warn("lr_schedule.min", before.lr_schedule.min, now.lr_schedule.min);
  warn("batch.global", before.batch.global, now.batch.global);
  warn("data.kind", before.data.kind, now.data.kind);
  warn("data.train", join(before.data.train), join(now.data.train));
  warn("data.valid", join(before.data.valid), join(now.data.valid));
  warn("data.valid_fraction", before.data.valid_fraction, now.data.valid_fraction);
  for (auto const* key : {"data.shuffle", "data.label", "data.columns", "data.normalise", "data.shape", "data.classes",
                          "data.vocab", "data.samples", "data.seed"}) {
    warn(key, written(before, key), written(now, key));
  }
  warn("model.dropout", a.dropout, b.dropout);
  return changes;
}

}  // namespace lamina::train
