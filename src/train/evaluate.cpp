#include "lamina/train/evaluate.hpp"

#include <algorithm>
#include <array>
#include <chrono>

namespace lamina::train {

Evaluation evaluate(Session& session, data::Source const& source, std::int64_t samples) {
  auto const start = std::chrono::steady_clock::now();
  auto const total = samples > 0 ? std::min(samples, source.samples()) : source.samples();
  auto& executor = session.executor();
  auto const inputs = executor.buffer("tokens.0", Role::input), targets = executor.buffer("targets.0", Role::input);
  auto const* loss = executor.buffer("eval_loss", Role::output).as<double>();
  auto const micro = session.config().batch.micro, length = source.tokens_per_sample();
  std::array<double, 2> sums{0, 0};
  for (std::int64_t first = 0; first < total; first += micro * session.dp_size()) {
    auto const mine = first + session.dp_rank() * micro;
    std::fill_n(inputs.as<std::int32_t>(), micro * length, 0);
    std::fill_n(targets.as<std::int32_t>(), micro * length, -1);
    for (std::int64_t b = 0; b < micro && mine + b < total; ++b) {
      source.read(mine + b, inputs.as<std::int32_t>() + b * length, targets.as<std::int32_t>() + b * length);
    }
    executor.run("eval");
    sums[0] += loss[0], sums[1] += loss[1];
  }
  session.sum_over_ranks(sums.data(), 2);
  return {.loss = sums[1] > 0 ? sums[0] / sums[1] : 0,
          .targets = static_cast<std::int64_t>(sums[1]),
          .samples = total,
          .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

}  // namespace lamina::train
