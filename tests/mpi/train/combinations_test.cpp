// Meshes, schedules, ZeRO stages, recomputation: the losses and weights of one rank, for all of them. One job of 8
// ranks makes groups of as many as a combination needs.
#include "support/combinations.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>

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

/// By default some of each kind; all with LAMINA_ALL_COMBINATIONS in the environment.
std::vector<test::Combination> chosen() {
  static std::set<std::string> const cross_section{
      "tp2",           "tp4_whole_tokens_dropout", "tp4_full_recompute", "pp2_zb",        "pp2_interleaved",
      "pp2_uneven",    "pp3_1f1b_prime",           "pp4_zb_selective",   "dp3_zero1_odd", "dp2_zero2",
      "dp3_zero3_odd", "dp3_shares_zero1",         "dp2_tp2_zero3",      "dp2_pp2_zero2", "tp2_pp2",
      "dp2_tp2_pp2",   "dp2_pp2_zero3_interleaved"};
  auto all = test::combinations();
  if (std::getenv("LAMINA_ALL_COMBINATIONS") == nullptr) {
    std::erase_if(all, [](auto const& c) { return !cross_section.contains(c.name); });
  }
  return all;
}

class Combinations : public ::testing::TestWithParam<test::Combination> {};

TEST_P(Combinations, give_the_losses_and_weights_of_one_rank) {
  auto const& c = GetParam();
  auto plain = test::combined_run();
  plain.model.vocab = 509, plain.optimizer.lr = 1e-2;  // so that there is something to learn, soon
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

INSTANTIATE_TEST_SUITE_P(of, Combinations, ::testing::ValuesIn(chosen()), [](auto const& p) { return p.param.name; });

}  // namespace
}  // namespace lamina
