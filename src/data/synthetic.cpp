#include <cstring>

#include "data/detail/numbers.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/philox.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data::detail {
namespace {

// What a word of Philox is for: the last word of its counter. The key is data.seed, the element an index of the tensor.
enum Use : std::uint32_t { of_centre = 0x5a01, of_label, of_noise, of_first, of_second, of_token };

class Random {
 public:
  explicit Random(std::int64_t seed) : seed_(static_cast<std::uint64_t>(seed)) {}
  std::uint32_t word(std::int64_t element, Use use) const {
    return Philox::word(seed_, static_cast<std::uint64_t>(element), 0, use);
  }
  /// [-1, 1)
  float symmetric(std::int64_t element, Use use) const { return 2 * Philox::uniform(word(element, use)) - 1; }
  /// [0, below)
  std::int64_t whole(std::int64_t element, Use use, std::int64_t below) const {
    return static_cast<std::int64_t>(std::uint64_t{word(element, use)} * static_cast<std::uint64_t>(below) >> 32);
  }

 private:
  std::uint64_t seed_;
};

/// Every class has a centre, uniform in the cube [-1, 1); a sample is the centre of its class plus as much noise again.
class Classes final : public Source {
 public:
  Classes(Random random, std::int64_t samples, Demand const& demand, std::int64_t classes)
      : random_(random), samples_(samples), demand_(demand), classes_(classes) {}
  std::int64_t samples() const override { return samples_; }
  std::vector<Field> fields() const override { return number_fields(demand_); }
  void fill(std::int64_t sample, std::span<void* const> to) const override {
    auto const features = demand_.features;
    auto const label = static_cast<std::int32_t>(random_.whole(sample, of_label, classes_));
    auto* x = static_cast<float*>(to[0]);
    for (std::int64_t k = 0; k < features; ++k) {
      x[k] = random_.symmetric(label * features + k, of_centre) + random_.symmetric(sample * features + k, of_noise);
    }
    std::memcpy(to[1], &label, sizeof label);
  }

 private:
  Random random_;
  std::int64_t samples_;
  Demand demand_;
  std::int64_t classes_;
};

/// Inputs uniform in [-1, 1); output j is half the difference of two of them, which two follows from j: a linear layer
/// can learn it exactly.
class Values final : public Source {
 public:
  Values(Random random, std::int64_t samples, Demand const& demand)
      : random_(random), samples_(samples), demand_(demand) {}
  std::int64_t samples() const override { return samples_; }
  std::vector<Field> fields() const override { return number_fields(demand_); }
  void fill(std::int64_t sample, std::span<void* const> to) const override {
    auto const features = demand_.features;
    auto *x = static_cast<float*>(to[0]), *y = static_cast<float*>(to[1]);
    for (std::int64_t k = 0; k < features; ++k) x[k] = random_.symmetric(sample * features + k, of_noise);
    for (std::int64_t j = 0; j < demand_.outputs; ++j) {
      y[j] = 0.5f * (x[random_.whole(j, of_first, features)] - x[random_.whole(j, of_second, features)]);
    }
    std::int32_t const counted = 0;
    std::memcpy(to[2], &counted, sizeof counted);
  }

 private:
  Random random_;
  std::int64_t samples_;
  Demand demand_;
};

/// A token follows from the one before it, next = (5 token + 17) mod vocab, nine times in ten; else it is any.
class Tokens final : public TokenSource {
 public:
  Tokens(Random random, std::int64_t samples, std::int64_t tokens, std::int64_t vocab)
      : random_(random), samples_(samples), tokens_(tokens), vocab_(vocab) {}
  std::int64_t samples() const override { return samples_; }
  std::int64_t tokens_per_sample() const override { return tokens_; }
  void read(std::int64_t sample, std::int32_t* inputs, std::int32_t* targets) const override {
    std::int64_t token = 0;
    for (std::int64_t t = 0; t <= tokens_; ++t) {
      auto const word = random_.word(sample * (tokens_ + 1) + t, of_token);
      bool const follows = t > 0 && word % 10 != 0;
      token = follows ? (5 * token + 17) % vocab_ : static_cast<std::int64_t>(word >> 4) % vocab_;
      if (t < tokens_) inputs[t] = static_cast<std::int32_t>(token);
      if (t > 0) targets[t - 1] = static_cast<std::int32_t>(token);
    }
  }

 private:
  Random random_;
  std::int64_t samples_, tokens_, vocab_;
};

[[noreturn]] void refuse(char const* key, std::string found, std::string expected) {
  fail({.code = "data.synthetic.model",
        .subject = text("data.", key, " of kind synthetic"),
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = text("leave data.", key, " out: it follows from the model")});
}

std::shared_ptr<Source const> make_source(config::Data const& config, Demand const& demand) {
  Random const random(config.seed);
  if (demand.tokens > 0) {
    auto const vocab = config.vocab > 0 ? config.vocab : demand.vocab;
    if (vocab < 1 || vocab > demand.vocab) {
      refuse("vocab", text(vocab), text("at most model.vocab = ", demand.vocab));
    }
    return std::make_shared<Tokens>(random, config.samples, demand.tokens, vocab);
  }
  if (!config.shape.empty() && Shape(config.shape).count() != demand.features) {
    refuse("shape", text('[', join(config.shape), ']'), text(demand.features, " numbers, as model.input says"));
  }
  if (demand.values) return std::make_shared<Values>(random, config.samples, demand);
  auto const classes = config.classes > 0 ? config.classes : demand.outputs;
  if (classes > demand.outputs) refuse("classes", text(classes), text("at most the ", demand.outputs, " outputs"));
  return std::make_shared<Classes>(random, config.samples, demand, classes);
}

}  // namespace

Sources open_synthetic(config::Data const& config, Demand const& demand) {
  if (!config.valid.empty()) {
    fail({.code = "data.synthetic.files",
          .subject = "data of kind synthetic",
          .found = text("files to evaluate on: ", join(config.valid)),
          .expected = "data.valid_fraction, a part of what is drawn",
          .fix = "leave the files out"});
  }
  auto sources = split_off(make_source(config, demand), config.valid_fraction, "synthetic data");
  sources.vocab = demand.vocab;
  return sources;
}

}  // namespace lamina::data::detail
