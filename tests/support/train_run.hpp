#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lamina/kernels/runtime.hpp"
#include "lamina/train/session.hpp"
#include "train/detail/loop.hpp"

namespace lamina::test {

/// A hash of integers that tests/data/train/make_parity.py repeats bit by bit ("lowbias32" of Ch. Wellons' search for
/// good two-round multiply-xorshift hashes, public domain).
inline std::uint32_t scramble(std::uint32_t x) {
  x ^= x >> 16, x *= 0x7feb352du;
  x ^= x >> 15, x *= 0x846ca68bu;
  return x ^ x >> 16;
}

/// Tokens of which 7 in 10 follow from the two before them, so that there is something to learn. One target in 11 is
/// ignored.
class FormulaTokens final : public data::TokenSource {
 public:
  FormulaTokens(std::int64_t samples, std::int64_t length, std::int64_t vocab) : samples_(samples), length_(length) {
    auto const v = static_cast<std::uint32_t>(vocab), rule = std::min(v, 97u);
    for (std::uint32_t i = 0; i <= samples * length; ++i) {
      auto const h = scramble(i + 0x9e3779b9u);
      auto const rare = ((h >> 4) % v) * ((h >> 16) % v) / v;
      bool const follows = i >= 2 && h % 10 < 7;
      tokens_.push_back(follows ? (31 * tokens_[i - 1] + 17 * tokens_[i - 2] + 7) % rule : rare);
    }
  }
  std::int64_t samples() const override { return samples_; }
  std::int64_t tokens_per_sample() const override { return length_; }
  void read(std::int64_t sample, std::int32_t* inputs, std::int32_t* targets) const override {
    for (std::int64_t t = 0; t < length_; ++t) {
      auto const i = static_cast<std::size_t>(sample * length_ + t);
      bool const ignored = scramble(static_cast<std::uint32_t>(3 * i + 1)) % 11 == 0;
      inputs[t] = static_cast<std::int32_t>(tokens_[i]);
      targets[t] = ignored ? -1 : static_cast<std::int32_t>(tokens_[i + 1]);
    }
  }

 private:
  std::int64_t samples_, length_;
  std::vector<std::uint32_t> tokens_;
};

/// A planned run over such tokens with its steps, and nothing in the file system.
class TrainRun {
 public:
  /// @param config  not resolved yet.
  TrainRun(config::RunConfig config, comm::Communicator const& world, data::Source const& source)
      : session(resolved(std::move(config), world.size()), world,
                {.purpose = plan::Purpose::train, .registered = {}, .generate = {}, .threads = kernels::threads()}) {
    session.initialise();
    stepper.emplace(session, source);
  }

  train::detail::StepResult step() { return stepper->run(++step_, 0); }

  /// Names of all parameters, in the order of the program.
  std::vector<std::string> parameters() {
    std::vector<std::string> names;
    for (auto const& b : session.executor().set().shape->buffers) {
      if (b.role == Role::parameter) names.push_back(b.name);
    }
    return names;
  }
  std::span<float> values(std::string const& name, Role role) {
    auto const t = session.executor().buffer(name, role);
    return {t.as<float>(), static_cast<std::size_t>(t.spec.count())};
  }
  /// After weights were written by hand: the copies that products read.
  void refresh() {
    if (session.executor().has_program("refresh")) session.executor().run("refresh");
  }

  train::Session session;
  std::optional<train::detail::Stepper> stepper;

 private:
  static config::RunConfig resolved(config::RunConfig config, int ranks) {
    config::resolve(config, ranks);
    return config;
  }

  std::int64_t step_ = 0;
};

/// A GPT of small odd sizes.
inline config::RunConfig small_run() {
  config::RunConfig c;
  c.run.dir = "unused", c.run.seed = 3, c.run.steps = 20;
  c.model.kind = "gpt";
  c.model.layers = 2, c.model.hidden = 24, c.model.heads = 2, c.model.context = 10, c.model.vocab = 37, c.model.ff = 52;
  c.batch.global = 7, c.batch.micro = 2;
  c.optimizer.lr = 3e-3;
  c.lr_schedule.warmup_steps = 4;
  c.memory.limit = std::int64_t{1} << 30;
  c.parallel.zero = 0;  // every rank has all weights
  return c;
}

}  // namespace lamina::test
