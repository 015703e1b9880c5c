// run.determinism = "canonical": losses, weights and moments of every mesh, schedule, ZeRO stage, micro-batching and
// number of threads are those of one rank, bit by bit. One job of 8 ranks makes groups of as many as a combination
// needs.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include "lamina/base/text.hpp"
#include "support/combinations.hpp"

namespace lamina {
namespace {

/// The first rank, which is also the one that runs alone, has two threads and the others one.
class Threads : public ::testing::Environment {
 public:
  void SetUp() override { runtime_.emplace(comm::Communicator::world().rank() == 0 ? 2 : 1); }
  void TearDown() override { runtime_.reset(); }

 private:
  std::optional<kernels::Runtime> runtime_;
};
::testing::Environment* const threads = ::testing::AddGlobalTestEnvironment(std::make_unique<Threads>().release());

using Tensors = std::map<std::string, std::vector<float>>;

struct Outcome {
  std::vector<double> losses, norms;
  std::map<Role, Tensors> tensors;
};

bool all_combinations() { return std::getenv("LAMINA_ALL_COMBINATIONS") != nullptr; }
int steps() { return all_combinations() ? 20 : 3; }

std::shared_ptr<data::Source const> source_of(config::RunConfig const& config) {
  if (config.model.kind == "layers") return train::open_data(config).train;
  return std::make_shared<test::FormulaTokens const>(23, config.model.context, config.model.vocab);
}

/// On a rank outside of the group: nothing.
Outcome train(config::RunConfig const& config, int ranks, int count = steps()) {
  Outcome result;
  if (auto const group = test::first_ranks(ranks)) {
    auto const source = source_of(config);
    test::TrainRun run(config, group, *source);
    for (int i = 0; i < count; ++i) {
      auto const r = run.step();
      result.losses.push_back(r.loss), result.norms.push_back(r.grad_norm);
    }
    for (auto const role : {Role::parameter, Role::moment1, Role::moment2}) {
      result.tensors[role] = test::whole_tensors(run.session, role);
    }
  }
  comm::Communicator::world().barrier();
  return result;
}

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }
std::uint64_t bits(double x) { return std::bit_cast<std::uint64_t>(x); }

template <class T>
std::string difference(std::vector<T> const& a, std::vector<T> const& b) {
  if (a.size() != b.size()) return text(a.size(), " and ", b.size(), " numbers");
  std::size_t different = 0, first = a.size();
  for (std::size_t i = a.size(); i-- > 0;) {
    if (bits(a[i]) != bits(b[i])) ++different, first = i;
  }
  return different == 0
             ? ""
             : text(different, " of ", a.size(), " differ, first at ", first, ": ", a[first], " and ", b[first]);
}

void expect_equal_bits(Outcome const& some, Outcome const& one) {
  EXPECT_EQ(difference(some.losses, one.losses), "") << "losses";
  EXPECT_EQ(difference(some.norms, one.norms), "") << "norms of the gradient";
  for (auto const& [role, tensors] : one.tensors) {
    for (auto const& [name, w1] : tensors) {
      auto const& mine = some.tensors.at(role);
      auto const found = mine.find(name);
      EXPECT_EQ(found == mine.end() ? "is missing" : difference(found->second, w1), "")
          << name << ", " << name_of(role);
    }
  }
}

/// Meshes, schedules, stages and models such that each matters; the others are in the slow test.
std::set<std::string> const cross_section{"tp2_untied_bias",
                                          "tp4_full_recompute",
                                          "tp2_post_relu",
                                          "pp3_zb_prime",
                                          "pp2_interleaved",
                                          "dp3_zero2_odd",
                                          "dp4_zero3_sgd",
                                          "dp2_shares",
                                          "dp2_tp2_zero3",
                                          "dp3_tp2_zero2",
                                          "dp2_pp2_zero1_zb",
                                          "tp2_pp2_whole_tokens_zb",
                                          "dp2_tp2_pp2_zero1_interleaved"};

std::vector<test::Combination> chosen() {
  auto all = test::combinations();
  if (!all_combinations()) {
    std::erase_if(all, [](auto const& c) { return !cross_section.contains(c.name); });
  }
  return all;
}

class Canonical : public ::testing::TestWithParam<test::Combination> {};

TEST_P(Canonical, gives_the_bits_of_one_rank) {
  auto const& c = GetParam();
  auto plain = test::combined_run();
  plain.run.determinism = "canonical";
  if (all_combinations()) plain.model.vocab = 509, plain.optimizer.lr = 1e-2;
  if (std::getenv("LAMINA_COMPUTE") != nullptr) plain.precision.compute = std::getenv("LAMINA_COMPUTE");
  c.model(plain);
  auto config = plain;
  plain.batch.micro = plain.batch.global;
  config.mesh.dp = c.dp, config.mesh.tp = c.tp, config.mesh.pp = c.pp;
  c.layout(config);
  static std::map<std::string, Outcome> known;  // models are few
  auto const model = config::print(plain);
  if (!known.contains(model)) known[model] = train(plain, 1);
  auto const& one = known[model];
  auto const some = train(config, c.dp * c.tp * c.pp);
  if (one.losses.empty()) return;
  expect_equal_bits(some, one);
  if (!all_combinations()) return;
  EXPECT_LT(one.losses.back(), 0.8 * one.losses.front()) << "too little was learnt";
}

INSTANTIATE_TEST_SUITE_P(of, Canonical, ::testing::ValuesIn(chosen()), [](auto const& p) { return p.param.name; });

TEST(CanonicalMode, gives_the_same_bits_in_bf16_too) {
  auto plain = test::combined_run();
  plain.run.determinism = "canonical";
  plain.precision.compute = "bf16", plain.model.dropout = 0.1;
  auto config = plain;
  plain.batch.micro = plain.batch.global;
  config.mesh.dp = 2, config.mesh.tp = 2, config.mesh.pp = 2, config.parallel.zero = 1;
  auto const one = train(plain, 1);
  auto const some = train(config, 8);
  if (!one.losses.empty()) expect_equal_bits(some, one);
}

TEST(CanonicalMode, gives_the_same_bits_for_networks_of_layers) {
  for (std::string const loss : {"cross_entropy", "mse"}) {
    config::RunConfig plain;
    plain.run.dir = "unused", plain.run.determinism = "canonical";
    plain.model.kind = "layers", plain.model.loss = loss, plain.model.input = {13};
    plain.model.network = {
        {.op = "linear", .name = "a", .out = 36}, {.op = "relu", .name = "b"}, {.op = "layer_norm", .name = "c"},
        {.op = "linear", .name = "d", .out = 12}, {.op = "gelu", .name = "e"}, {.op = "linear", .name = "f", .out = 6}};
    plain.data.kind = "synthetic", plain.batch.global = 12, plain.batch.micro = 12, plain.optimizer.lr = 1e-2;
    plain.memory.limit = std::int64_t{1} << 28;
    auto const one = train(plain, 1);
    auto const compare = [&](std::string const& name, int ranks, auto const& change) {
      auto config = plain;
      config.batch.micro = 2;
      change(config);
      auto const some = train(config, ranks);
      SCOPED_TRACE(loss + ", " + name);
      if (!one.losses.empty()) expect_equal_bits(some, one);
    };
    compare("rows", 2, [](auto& c) {
      c.mesh.tp = 2, c.parallel.split = {{{"a"}, "out"}, {{"d"}, "in"}, {{"f"}, "none"}};
    });
    compare("columns", 3, [](auto& c) { c.mesh.tp = 3, c.parallel.split = {{{"a", "d"}, "out"}, {{"f"}, "in"}}; });
    compare("replicas", 3, [](auto& c) { c.mesh.dp = 3, c.parallel.zero = 2; });
    compare("stages", 4, [](auto& c) { c.mesh.dp = 2, c.mesh.pp = 2, c.pipeline.schedule = "gpipe"; });
  }
}

TEST(CanonicalMode, is_needed_for_that) {
  auto const plain = test::combined_run();
  auto config = plain;
  config.mesh.tp = 2;
  auto const one = train(plain, 1);
  auto const some = train(config, 2);
  if (one.losses.empty()) return;
  EXPECT_NE(difference(some.losses, one.losses), "");
  auto const name = "blocks.0.mlp.fc.weight";
  EXPECT_NE(difference(some.tensors.at(Role::parameter).at(name), one.tensors.at(Role::parameter).at(name)), "");
}

TEST(CanonicalMode, stays_near_the_normal_one) {
  auto canonical = test::combined_run();
  auto normal = canonical;
  canonical.run.determinism = "canonical";
  auto const a = train(canonical, 1, 20), b = train(normal, 1, 20);
  for (std::size_t i = 0; i < a.losses.size(); ++i) {
    EXPECT_NEAR(a.losses[i] / b.losses[i], 1, 1e-4) << "step " << i + 1;
    EXPECT_NEAR(a.norms[i] / b.norms[i], 1, 1e-3) << "step " << i + 1;
  }
  if (a.losses.empty()) return;
  EXPECT_LT(a.losses.back(), 0.95 * a.losses.front());
}

}  // namespace
}  // namespace lamina
