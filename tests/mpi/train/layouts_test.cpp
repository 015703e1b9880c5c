// The property worth more than any golden file: how a run is laid out over ranks, micro-batches and programs changes
// nothing but the order of sums. One job of 4 ranks makes groups of 1, 2, 3 and 4 of them, and trains on each.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <numeric>

#include "lamina/base/hash.hpp"
#include "support/kernel_thread.hpp"
#include "support/outcome.hpp"
#include "support/train_run.hpp"

namespace lamina {
namespace {

constexpr int steps = 20;

/// On a rank outside of the group: nothing. Tag: of the group.
test::Outcome train(config::RunConfig const& config, int ranks, int tag) {
  auto const world = comm::Communicator::world();
  std::vector<int> members(static_cast<std::size_t>(std::min(ranks, world.size())));
  std::iota(members.begin(), members.end(), 0);
  test::Outcome result;
  if (auto const group = world.subgroup(members, "part", tag)) {
    test::FormulaTokens const source(23, config.model.context, config.model.vocab);
    test::TrainRun run(config, group, source);
    auto const weights = [&] {
      std::map<std::string, std::vector<float>> all;
      run.session.gather_parameters();
      for (auto const& name : run.parameters()) {
        auto const v = run.values(name, Role::parameter);
        all[name].assign(v.begin(), v.end());
      }
      return all;
    };
    result.before = weights();
    for (int i = 0; i < steps; ++i) result.losses.push_back(run.step().loss);
    result.after = weights();
    std::string bits;
    for (auto const& [name, v] : result.after) bits.append(reinterpret_cast<char const*>(v.data()), 4 * v.size());
    auto const hashes = group.all_gather_bytes(hex(hash64(bits)));
    for (auto const& h : hashes) EXPECT_EQ(h, hashes[0]) << "replicas differ in their weights";
  }
  world.barrier();
  return result;
}

struct Variant {
  std::string name;
  std::function<void(config::RunConfig&)> model;   ///< what is computed
  std::function<void(config::RunConfig&)> layout;  ///< how
};

void PrintTo(Variant const& v, std::ostream* out) { *out << v.name; }

std::vector<Variant> variants() {
  auto const small_buckets = [](config::RunConfig& c) { c.parallel.bucket = 1000; };
  return {
      {"tied_with_dropout", [](auto& c) { c.model.dropout = 0.2; }, [](auto&) {}},
      {"untied_with_bias_in_small_buckets", [](auto& c) { c.model.tied = false, c.model.head_bias = true; },
       small_buckets},
      {"without_fusion_and_overlap", [](auto& c) { c.model.dropout = 0.1, c.model.tied = false; },
       [](auto& c) { c.parallel.fuse = false, c.parallel.overlap = false, c.parallel.bucket = 5000; }},
      {"micro_batches_larger_than_the_share_of_a_rank",
       [](auto& c) { c.batch.global = 5, c.model.norm = "post", c.model.activation = "relu"; },
       [](auto& c) { c.batch.micro = 3; }},
      {"sgd_without_positions",
       [](auto& c) {
         c.optimizer.kind = "sgd", c.optimizer.lr = 0.3, c.model.positions = "none", c.model.causal = false;
       },
       [](auto& c) { c.batch.micro = 1; }},
  };
}

class Layouts : public ::testing::TestWithParam<Variant> {};

TEST_P(Layouts, give_the_losses_and_weights_of_one_rank) {
  auto plain = test::small_run();
  GetParam().model(plain);
  auto config = plain;
  plain.batch.micro = plain.batch.global;
  plain.parallel.fuse = false, plain.parallel.overlap = false;
  GetParam().layout(config);
  auto const one = train(plain, 1, 1);
  if (!one.losses.empty()) {
    EXPECT_LT(one.losses.back(), 0.98 * one.losses.front()) << "nothing was learnt";
  }
  for (int const ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(ranks);
    auto const some = train(config, ranks, ranks);
    if (one.losses.empty()) continue;  // rank 0 has both
    EXPECT_LE(test::worst_loss(some.losses, one.losses), 1e-5);
    test::expect_equal_weights(some, one, 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(of, Layouts, ::testing::ValuesIn(variants()), [](auto const& p) { return p.param.name; });

TEST(LayoutsInBf16, give_the_loss_of_one_rank) {
  auto plain = test::small_run();
  plain.precision.compute = "bf16";
  plain.model.dropout = 0.1;
  auto const one = train(plain, 1, 1);
  for (int const ranks : {2, 3, 4}) {
    SCOPED_TRACE(ranks);
    auto const some = train(plain, ranks, ranks);
    if (!one.losses.empty()) {
      EXPECT_LE(test::worst_loss(some.losses, one.losses), 3e-3);
    }
  }
}

TEST(LayoutsOfOtherSeeds, do_not_agree) {  // the comparison can fail
  auto config = test::small_run();
  config.model.dropout = 0.2;
  auto const a = train(config, 1, 1);
  config.run.seed = 4;
  auto const b = train(config, 1, 1);
  if (!a.losses.empty()) {
    EXPECT_GT(test::worst_loss(a.losses, b.losses), 1e-3);
  }
}

}  // namespace
}  // namespace lamina
