#include "lamina/train/generate.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lamina/base/error.hpp"
#include "lamina/base/philox.hpp"
#include "lamina/base/text.hpp"

namespace lamina::train {

std::int32_t sample(std::span<float const> logits, Sampling const& sampling, std::int64_t index) {
  auto const largest = std::ranges::max_element(logits);
  if (sampling.temperature == 0 || sampling.top_k == 1) return static_cast<std::int32_t>(largest - logits.begin());
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  if (sampling.top_k > 0 && sampling.top_k < static_cast<std::int64_t>(order.size())) {
    auto const likelier = [&](std::int32_t a, std::int32_t b) {
      auto const la = logits[static_cast<std::size_t>(a)], lb = logits[static_cast<std::size_t>(b)];
      return la != lb ? la > lb : a < b;
    };
    std::nth_element(order.begin(), order.begin() + sampling.top_k, order.end(), likelier);
    order.resize(static_cast<std::size_t>(sampling.top_k));
    std::ranges::sort(order);  // the sum below must not depend on how the selection went
  }
  std::vector<double> weights;
  double sum = 0;
  for (auto const token : order) {
    auto const logit = static_cast<double>(logits[static_cast<std::size_t>(token)]) - static_cast<double>(*largest);
    weights.push_back(std::exp(logit / sampling.temperature));
    sum += weights.back();
  }
  constexpr std::uint32_t operation = 0x67656e65;  // "gene"
  auto const word =
      Philox::word(static_cast<std::uint64_t>(sampling.seed), static_cast<std::uint64_t>(index), 0, operation);
  double rest = static_cast<double>(Philox::uniform(word)) * sum;
  for (std::size_t i = 0; i < order.size(); ++i) {
    rest -= weights[i];
    if (rest < 0) return order[i];
  }
  return order.back();
}

std::span<float const> Generator::prefill(std::span<std::int32_t const> tokens) {
  auto const chunk = session_.prefill_tokens();
  auto const count = static_cast<std::int64_t>(tokens.size());
  auto const context = session_.config().model.context;
  std::int64_t done = 0;
  // A chunk is written to the caches whole, padding included: it must end inside them.
  while (done < count && done + chunk <= context) {
    auto const n = std::min(chunk, count - done);
    run_program("prefill", tokens.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(n)), done);
    done += n;
  }
  cached_ = done;
  auto logits = logits_of("prefill");
  for (; done < count; ++done) logits = decode(tokens[static_cast<std::size_t>(done)]);  // no whole chunk fits any more
  return logits;
}

std::span<float const> Generator::decode(std::int32_t token) {
  run_program("decode", {&token, 1}, cached_);
  ++cached_;
  return logits_of("decode");
}

void Generator::run_program(std::string const& program, std::span<std::int32_t const> tokens, std::int64_t position) {
  auto& executor = session_.executor();
  // A rank that has another part of the model has no such input.
  auto const input = [&](std::string const& name) -> std::span<std::int32_t> {
    if (executor.set().shape->find_buffer(name, Role::input) < 0) return {};
    auto const buffer = executor.buffer(name, Role::input);
    return {buffer.as<std::int32_t>(), static_cast<std::size_t>(buffer.spec.count())};
  };
  if (auto const to = input(program + ".tokens"); !to.empty()) {
    std::ranges::fill(to, 0);
    std::ranges::copy(tokens, to.begin());
  }
  for (auto& to : input("position")) to = static_cast<std::int32_t>(position);
  for (auto& to : input("last")) to = static_cast<std::int32_t>(tokens.size()) - 1;
  executor.run(program);
}

std::span<float const> Generator::logits_of(std::string const& program) const {
  auto& executor = session_.executor();
  auto const name = program + ".logits";
  if (executor.set().shape->find_buffer(name, Role::output) < 0) return {};
  auto const logits = executor.buffer(name, Role::output);
  return {logits.as<float>(), static_cast<std::size_t>(logits.spec.count())};
}

std::vector<std::int32_t> Generator::run(std::vector<std::int32_t> sequence, std::int64_t count,
                                         Sampling const& sampling, std::function<void(std::int32_t)> const& on_token) {
  auto const vocab = session_.config().model.vocab;
  for (auto const token : sequence) {
    if (token >= 0 && token < vocab) continue;
    fail({.code = "data.prompt.token",
          .subject = "the prompt",
          .found = text("token ", token),
          .expected = text("tokens below ", vocab, " (model.vocab)"),
          .fix = "use the tokenizer that the model was trained with"});
  }
  auto const context = session_.config().model.context;
  auto const window = [&] {
    auto const size = static_cast<std::int64_t>(sequence.size());
    auto const keep = size <= context ? size : std::max<std::int64_t>(1, context / 2);
    return std::span<std::int32_t const>(sequence).last(static_cast<std::size_t>(keep));
  };
  for (std::int64_t i = 0; i < count; ++i) {
    bool const again = i == 0 || cached_ >= context;
    auto const logits = again ? prefill(window()) : decode(sequence.back());
    std::int64_t const drawn = logits.empty() ? -1 : sample(logits, sampling, i);
    auto const token = static_cast<std::int32_t>(session_.world().size() > 1 ? session_.world().all_max(drawn) : drawn);
    sequence.push_back(token);
    if (on_token) on_token(token);
  }
  return sequence;
}

}  // namespace lamina::train
