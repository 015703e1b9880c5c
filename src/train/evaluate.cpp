#include "lamina/train/evaluate.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <vector>

#include "lamina/base/text.hpp"

namespace lamina::train {
namespace {

/// The eval program's inputs, one after the other: buffers of the executor, and room for what this rank has no use for.
class Inputs {
 public:
  Inputs(runtime::Executor const& executor, data::Source const& source, std::int64_t micro)
      : source_(source), fields_(source.fields()), unused_(fields_.size()) {
    for (std::size_t f = 0; f < fields_.size(); ++f) {
      auto const name = fields_[f].name + ".0";
      unused_[f].resize(static_cast<std::size_t>(micro * fields_[f].sample.bytes()));
      bool const here = executor.set().shape->find_buffer(name, Role::input) >= 0;
      to_.push_back(here ? executor.buffer(name, Role::input).as<std::byte>() : unused_[f].data());
    }
    places_.resize(fields_.size());
  }

  /// Samples [first, last) of the source, then padding.
  void fill(std::int64_t first, std::int64_t last) {
    for (std::size_t f = 0; f < fields_.size(); ++f) std::memset(to_[f], fields_[f].padding, unused_[f].size());
    for (auto sample = first; sample < last; ++sample) {
      for (std::size_t f = 0; f < fields_.size(); ++f)
        places_[f] = to_[f] + (sample - first) * fields_[f].sample.bytes();
      source_.fill(sample, places_);
    }
  }

 private:
  data::Source const& source_;
  std::vector<data::Field> fields_;
  std::vector<std::vector<std::byte>> unused_;  // [micro] of each field
  std::vector<std::byte*> to_;
  std::vector<void*> places_;
};

}  // namespace

Evaluation evaluate(Session& session, data::Source const& source, std::int64_t samples) {
  auto const start = std::chrono::steady_clock::now();
  auto const total = samples > 0 ? std::min(samples, source.samples()) : source.samples();
  auto& executor = session.executor();
  auto const micro = session.config().batch.micro;
  session.gather_parameters();
  Inputs inputs(executor, source, micro);
  auto const *loss = session.loss("eval_loss"), *hits = session.loss("eval_accuracy");
  std::array<double, 4> sums{};  // loss, targets, hits, rows that could be hits
  for (std::int64_t first = 0; first < total; first += micro * session.dp_size()) {
    auto const mine = first + session.dp_rank() * micro;
    inputs.fill(mine, std::clamp(total, mine, mine + micro));
    executor.run("eval");
    if (loss) sums[0] += loss[0], sums[1] += loss[1];
    if (hits) sums[2] += hits[0], sums[3] += hits[1];
  }
  session.sum_over_ranks(sums.data(), static_cast<int>(sums.size()));
  Evaluation result{.loss = sums[1] > 0 ? sums[0] / sums[1] : 0,
                    .accuracy = {},
                    .targets = static_cast<std::int64_t>(sums[1]),
                    .samples = total,
                    .seconds = 0};
  if (sums[3] > 0) result.accuracy = sums[2] / sums[3];
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace lamina::train
