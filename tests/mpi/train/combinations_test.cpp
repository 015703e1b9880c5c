// Meshes, schedules, ZeRO stages, recomputation: the losses and weights of one rank, for all of them. One job of 8
// ranks makes groups of as many as a combination needs.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "support/combinations.hpp"
#include "support/kernel_thread.hpp"

namespace lamina {
namespace {

constexpr int steps = 20;

struct Outcome {
  std::vector<double> losses;
  std::map<std::string, std::vector<float>> before, after;  // whole parameters, on the first rank
};

/// On a rank outside of the group: nothing.
Outcome train(config::RunConfig const& config, int ranks) {
  Outcome result;
  if (auto const group = test::first_ranks(ranks)) {
    test::FormulaTokens const source(23, config.model.context, config.model.vocab);
    test::TrainRun run(config, group, source);
    result.before = test::whole_tensors(run.session, Role::parameter);
    for (int i = 0; i < steps; ++i) result.losses.push_back(run.step().loss);
    result.after = test::whole_tensors(run.session, Role::parameter);
  }
  comm::Communicator::world().barrier();
  return result;
}

double worst_loss(std::vector<double> const& a, std::vector<double> const& b) {
  double most = a.size() == b.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    double const d = std::abs(a[i] - b[i]) / std::abs(b[i]);
    most = d > most || std::isnan(d) ? d : most;
  }
  return most;
}

/// ||w - w1|| / ||w1 - w0||, the worst tensor. Biases of keys are left out: their true gradient is zero, and Adam makes
/// steps of full size out of rounding.
void expect_equal_weights(Outcome const& some, Outcome const& one, double bound) {
  ASSERT_EQ(some.after.size(), one.after.size());
  for (auto const& [name, w1] : one.after) {
    auto const &w = some.after.at(name), &w0 = one.before.at(name);
    EXPECT_EQ(some.before.at(name), w0) << name << ": other initial values";
    bool const has_key_bias = name.ends_with("qkv.bias");
    double apart = 0, moved = 0;
    for (std::size_t i = 0; i < w1.size(); ++i) {
      if (has_key_bias && i >= w1.size() / 3 && i < 2 * w1.size() / 3) continue;
      apart += std::pow(double{w[i]} - w1[i], 2), moved += std::pow(double{w1[i]} - w0[i], 2);
    }
    EXPECT_GT(moved, 0) << name;
    EXPECT_LE(std::sqrt(apart), bound * std::sqrt(moved)) << name;
  }
}

class Combinations : public ::testing::TestWithParam<test::Combination> {};

TEST_P(Combinations, give_the_losses_and_weights_of_one_rank) {
  auto const& c = GetParam();
  auto plain = test::combined_run();
  c.model(plain);
  auto config = plain;
  plain.batch.micro = plain.batch.global;
  config.mesh.dp = c.dp, config.mesh.tp = c.tp, config.mesh.pp = c.pp;
  c.layout(config);
  auto const one = train(plain, 1);
  auto const some = train(config, c.dp * c.tp * c.pp);
  if (one.losses.empty()) return;
  EXPECT_LT(one.losses.back(), 0.8 * one.losses.front()) << "too little was learnt";
  EXPECT_LE(worst_loss(some.losses, one.losses), 1e-5);
  expect_equal_weights(some, one, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(of, Combinations, ::testing::ValuesIn(test::combinations()),
                         [](auto const& p) { return p.param.name; });

}  // namespace
}  // namespace lamina
