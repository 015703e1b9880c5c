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
  auto& executor = session_.executor();
  auto const input = executor.buffer("prefill.tokens", Role::input);
  auto const chunk = input.spec.count();
  auto* position = executor.buffer("position", Role::input).as<std::int32_t>();
  auto* last = executor.buffer("last", Role::input).as<std::int32_t>();
  auto const count = static_cast<std::int64_t>(tokens.size());
  auto const context = session_.config().model.context;
  std::int64_t done = 0;
  // A chunk is written to the caches whole, padding included: it must end inside them.
  while (done < count && done + chunk <= context) {
    auto const n = std::min(chunk, count - done);
    std::fill_n(input.as<std::int32_t>(), chunk, 0);
    std::copy_n(tokens.data() + done, n, input.as<std::int32_t>());
    *position = static_cast<std::int32_t>(done);
    *last = static_cast<std::int32_t>(n - 1);
    executor.run("prefill");
    done += n;
  }
  cached_ = done;
  auto const output = executor.buffer("prefill.logits", Role::output);
  std::span<float const> logits{output.as<float>(), static_cast<std::size_t>(output.spec.count())};
  for (; done < count; ++done) logits = decode(tokens[static_cast<std::size_t>(done)]);  // no whole chunk fits any more
  return logits;
}

std::span<float const> Generator::decode(std::int32_t token) {
  auto& executor = session_.executor();
  *executor.buffer("decode.tokens", Role::input).as<std::int32_t>() = token;
  *executor.buffer("position", Role::input).as<std::int32_t>() = static_cast<std::int32_t>(cached_);
  *executor.buffer("last", Role::input).as<std::int32_t>() = 0;  // a chunk of one token
  executor.run("decode");
  ++cached_;
  auto const logits = executor.buffer("decode.logits", Role::output);
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
    auto const token = sample(logits, sampling, i);
    sequence.push_back(token);
    if (on_token) on_token(token);
  }
  return sequence;
}

}  // namespace lamina::train
