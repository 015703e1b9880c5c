#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/data/source.hpp"
#include "support/errors.hpp"

namespace lamina::data {
namespace {

/// Sample s is the tokens s*100, s*100 + 1, ...
class Counting final : public TokenSource {
 public:
  Counting(std::int64_t samples, std::int64_t tokens, std::int64_t broken = -1)
      : samples_(samples), tokens_(tokens), broken_(broken) {}
  std::int64_t samples() const override { return samples_; }
  std::int64_t tokens_per_sample() const override { return tokens_; }
  void read(std::int64_t sample, std::int32_t* inputs, std::int32_t* targets) const override {
    if (sample == broken_)
      fail({.code = "data.test.broken", .subject = "s", .found = "f", .expected = "e", .fix = "x"});
    for (std::int64_t t = 0; t < tokens_; ++t) {
      inputs[t] = static_cast<std::int32_t>(sample * 100 + t);
      targets[t] = inputs[t] + 1;
    }
  }

 private:
  std::int64_t samples_, tokens_, broken_;
};

TEST(SampleOrder, is_a_permutation_of_each_epoch) {
  for (std::int64_t const n : {1, 2, 3, 5, 17, 64, 65, 1000, 1021}) {
    for (std::int64_t const epoch : {0, 1, 7}) {
      std::set<std::int64_t> seen;
      for (std::int64_t i = 0; i < n; ++i) seen.insert(sample_at(epoch * n + i, n, true, 42));
      EXPECT_EQ(static_cast<std::int64_t>(seen.size()), n);
      EXPECT_GE(*seen.begin(), 0);
      EXPECT_LT(*seen.rbegin(), n);
    }
  }
}

TEST(SampleOrder, depends_on_seed_and_epoch_and_looks_random) {
  std::int64_t const n = 1000;
  int fixed = 0, same_epoch = 0, same_seed = 0, ascending = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    auto const s = sample_at(i, n, true, 1);
    fixed += s == i;
    same_epoch += s == sample_at(n + i, n, true, 1);
    same_seed += s == sample_at(i, n, true, 2);
    ascending += s < sample_at((i + 1) % n, n, true, 1);
  }
  EXPECT_LT(fixed, 10);  // one is expected of a random permutation
  EXPECT_LT(same_epoch, 10);
  EXPECT_LT(same_seed, 10);
  EXPECT_NEAR(ascending, 500, 60);
}

TEST(SampleOrder, without_shuffle_is_that_of_the_files) {
  for (std::int64_t i = 0; i < 7; ++i) EXPECT_EQ(sample_at(i, 3, false, 1), i % 3);
}

TEST(SampleOrder, handles_sets_that_no_table_could_hold) {
  std::int64_t const n = (std::int64_t{1} << 40) + 7;
  std::set<std::int64_t> seen;
  for (std::int64_t i = 0; i < 1000; ++i) {
    auto const s = sample_at(n - 1 - i, n, true, 3);
    EXPECT_TRUE(s >= 0 && s < n);
    seen.insert(s);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

/// Micro-batch `m` as tokens and targets.
void read(Feeder& feeder, std::int64_t step, std::int64_t m, std::vector<std::int32_t>& inputs,
          std::vector<std::int32_t>& targets) {
  std::vector<void*> const places{inputs.data(), targets.data()};
  feeder.read(step, m, places);
}

/// First tokens of all samples of a step in micro-batch order, -1 for padding; all replicas one after the other.
std::vector<std::int32_t> step_of(std::int64_t replicas, std::int64_t micro, std::int64_t step, std::int64_t global) {
  Counting const source(11, 3);
  std::vector<std::int32_t> samples;
  for (std::int64_t r = 0; r < replicas; ++r) {
    Feeder feeder(source, Portion::even(global, micro, r, replicas), micro, true, 9);
    std::vector<std::int32_t> inputs(static_cast<std::size_t>(micro * 3)), targets(inputs.size());
    for (std::int64_t m = 0; m < feeder.portion().micro_batches; ++m) {
      read(feeder, step, m, inputs, targets);
      for (std::int64_t b = 0; b < micro; ++b) {
        if (targets[static_cast<std::size_t>(b * 3)] < 0) continue;
        EXPECT_EQ(targets[static_cast<std::size_t>(b * 3)], inputs[static_cast<std::size_t>(b * 3)] + 1);
        samples.push_back(inputs[static_cast<std::size_t>(b * 3)]);
      }
    }
  }
  return samples;
}

TEST(Feeder, gives_the_same_samples_in_the_same_order_to_any_number_of_replicas) {
  for (std::int64_t const step : {1, 2, 5}) {
    auto const one = step_of(1, 7, step, 7);
    ASSERT_EQ(one.size(), 7u);
    for (std::int64_t const replicas : {2, 3, 5, 7}) {
      for (std::int64_t const micro : {1, 2, 3, 4}) EXPECT_EQ(step_of(replicas, micro, step, 7), one);
    }
  }
}

TEST(Feeder, can_jump_and_go_back) {
  Counting const source(50, 2);
  Feeder feeder(source, Portion::even(4, 2, 0, 1), 2, false, 0);
  std::vector<std::int32_t> inputs(4), targets(4);
  for (std::int64_t const step : {1, 2, 9, 10, 3, 3, 1}) {
    read(feeder, step, 1, inputs, targets);
    EXPECT_EQ(inputs[0], (((step - 1) * 4 + 2) % 50) * 100);
  }
}

TEST(Feeder, goes_on_where_smaller_steps_have_stopped) {
  Counting const source(50, 2);
  // Five steps of 4 samples, then steps of 6: step 6 begins with sample 20.
  Feeder feeder(source, Portion::even(6, 6, 0, 1), 6, false, 0, 5 * 4 - 5 * 6);
  std::vector<std::int32_t> inputs(12), targets(12);
  for (std::int64_t const step : {6, 7, 12}) {
    read(feeder, step, 0, inputs, targets);
    EXPECT_EQ(inputs[0], ((20 + (step - 6) * 6) % 50) * 100);
  }
}

TEST(Feeder, passes_on_what_went_wrong_in_its_thread) {
  Counting const source(50, 2, /*broken=*/5);
  Feeder feeder(source, Portion::even(4, 4, 0, 1), 4, false, 0);
  std::vector<std::int32_t> inputs(8), targets(8);
  read(feeder, 1, 0, inputs, targets);
  EXPECT_EQ(test::error_of([&] { read(feeder, 2, 0, inputs, targets); }).code, "data.test.broken");
}

}  // namespace
}  // namespace lamina::data
