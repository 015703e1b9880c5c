#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lamina/train/session.hpp"

namespace lamina::train {

struct Sampling {
  double temperature = 1.0;  ///< 0: the most likely token (greedy)
  std::int64_t top_k = 0;    ///< only the k most likely tokens; 0: all
  std::int64_t seed = 1;
};

/// Continues one sequence with the prefill and decode programs of a session of Purpose::generate (batch 1).
/// When the context is full, the later half of the sequence is kept and read again.
class Generator {
 public:
  explicit Generator(Session& session) : session_(session) {}

  /// Appends `count` tokens to `prompt` (at least one token), calling `on_token` for each as it is drawn.
  /// Collective over the session's ranks; each gets the sequence. Deterministic: token i is a function of the weights, the tokens before it, `seed` and i.
  std::vector<std::int32_t> run(std::vector<std::int32_t> prompt, std::int64_t count, Sampling const& sampling,
                                std::function<void(std::int32_t)> const& on_token = {});

 private:
  /// Logits after the last token, on ranks that have them; empty on the others.
  std::span<float const> prefill(std::span<std::int32_t const> tokens);
  std::span<float const> decode(std::int32_t token);
  void run_program(std::string const& program, std::span<std::int32_t const> tokens, std::int64_t position);
  std::span<float const> logits_of(std::string const& program) const;

  Session& session_;
  std::int64_t cached_ = 0;  // tokens in the caches
};

/// Draws a token from logits: Philox word `index` of (seed, "generate").
std::int32_t sample(std::span<float const> logits, Sampling const& sampling, std::int64_t index);

}  // namespace lamina::train
