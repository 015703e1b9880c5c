// Meshes, schedules, ZeRO stages, recomputation: the losses and weights of one rank, for all of them. One job of 8
// ranks makes groups of as many as a combination needs.
#include "support/combinations.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <string>

#include "lamina/train/evaluate.hpp"
#include "support/kernel_thread.hpp"
#include "support/outcome.hpp"

namespace lamina {
namespace {

constexpr int steps = 20;

/// On a rank outside of the group: nothing.
test::Outcome train(config::RunConfig const& config, int ranks) {
  test::Outcome result;
  if (auto const group = test::first_ranks(ranks)) {
    test::FormulaTokens const source(23, config.model.context, config.model.vocab);
    test::TrainRun run(config, group, source);
    result.before = test::whole_tensors(run.session, Role::parameter);
    for (int i = 0; i < steps; ++i) result.losses.push_back(run.step().loss);
    result.losses.push_back(train::evaluate(run.session, source, source.samples()).loss);  // of the last update
    result.after = test::whole_tensors(run.session, Role::parameter);
  }
  comm::Communicator::world().barrier();
  return result;
}

/// By default some of each kind; all with LAMINA_ALL_COMBINATIONS in the environment.
std::vector<test::Combination> chosen() {
  static std::set<std::string> const cross_section{"tp2",
                                                   "tp4_whole_tokens_dropout",
                                                   "tp4_full_recompute",
                                                   "tp2_embed_by_width",
                                                   "pp3_returning",
                                                   "pp2_zb",
                                                   "pp2_interleaved",
                                                   "pp2_uneven",
                                                   "pp3_1f1b_prime",
                                                   "pp4_zb_selective",
                                                   "dp3_zero1_odd",
                                                   "dp2_zero2",
                                                   "dp3_zero3_odd",
                                                   "dp3_shares_zero1",
                                                   "dp2_tp2_zero3",
                                                   "dp2_pp2_zero2",
                                                   "tp2_pp2",
                                                   "dp2_tp2_pp2",
                                                   "dp2_pp2_zero3_interleaved",
                                                   "dp4_large_vocab_untied_zero1",
                                                   "dp2_tp2_large_vocab",
                                                   "tp2_pp2_whole_tokens_zb"};
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
  EXPECT_LT(one.losses[steps - 1], 0.8 * one.losses.front()) << "too little was learnt";
  EXPECT_LE(test::worst_loss(some.losses, one.losses), 1e-5);
  test::expect_equal_weights(some, one, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(of, Combinations, ::testing::ValuesIn(chosen()), [](auto const& p) { return p.param.name; });

}  // namespace
}  // namespace lamina
