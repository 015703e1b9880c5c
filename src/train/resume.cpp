#include "lamina/train/resume.hpp"

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::train {

std::vector<std::string> check_resume(config::RunConfig const& before, config::RunConfig const& now) {
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
  refuse("optimizer", "optimizer.kind", before.optimizer.kind, now.optimizer.kind);
  refuse("seed", "run.seed", before.run.seed, now.run.seed);
  fail_if_any(problems);

  std::vector<std::string> warnings;
  auto const warn = [&](char const* key, auto const& old, auto const& fresh) {
    if (old != fresh) warnings.push_back(text(key, " changed from ", old, " to ", fresh, " since the checkpoint"));
  };
  warn("optimizer.lr", before.optimizer.lr, now.optimizer.lr);
  warn("batch.global", before.batch.global, now.batch.global);
  warn("data.train", join(before.data.train), join(now.data.train));
  warn("data.shuffle", before.data.shuffle, now.data.shuffle);
  warn("model.dropout", a.dropout, b.dropout);
  return warnings;
}

}  // namespace lamina::train
