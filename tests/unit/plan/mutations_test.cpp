// Planned programs of every schedule, changed at random: the verifier against an independent interpreter.
// LAMINA_MUTANTS: how many changes (default 1000); LAMINA_SEED: where to start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "support/plan_cases.hpp"
#include "support/program_compare.hpp"
#include "support/program_mutations.hpp"

namespace lamina::plan {
namespace {

using test::PlanCase;
using test::Random;
using test::World;

/// A small run of up to 8 ranks, now and then 12.
PlanCase draw_case(Random& random) {
  PlanCase c{.micro = 1, .hidden = 8, .tokens = 4, .vocab = random.between(10, 11)};
  c.schedule = random.of(std::vector<std::string>{"gpipe", "1f1b", "interleaved", "zb-h1"});
  c.pp = random.one_in(6) ? 1 : random.of(std::vector<int>{2, 2, 2, 3, 4});
  c.chunks = c.schedule == "interleaved" ? 2 : 1;
  c.tp = random.between(1, 2);
  int const most = (random.one_in(8) ? 12 : 8) / static_cast<int>(c.pp * c.tp);
  int const dp = random.between(1, std::max(1, std::min(most, 3)));
  c.world = c.pp * c.tp * dp;
  c.layers = std::max<std::int64_t>(random.between(1, 2), (c.pp * c.chunks - 2) / 2);
  c.global = dp * (c.schedule == "interleaved" ? c.pp * random.between(1, 2) : random.between(1, 4));
  c.zero = random.between(0, 3);
  c.recompute = random.of(std::vector<std::string>{"none", "selective", "full"});
  c.sequence_parallel = !random.one_in(3);
  c.dropout = random.one_in(3) ? 0.1 : 0;
  c.tied = !random.one_in(3), c.head_bias = random.one_in(3), c.bf16 = random.one_in(3);
  c.fuse = !random.one_in(4), c.overlap = !random.one_in(4), c.packs = !random.one_in(3);
  c.bucket = random.one_in(2) ? 1000 : 25 << 20;
  c.optimizer = random.one_in(4) ? "sgd" : "adamw";
  return c;
}

std::string describe(PlanCase const& c) {
  return text(c.schedule, " pp ", c.pp, " chunks ", c.chunks, " tp ", c.tp, " world ", c.world, " zero ", c.zero,
              " recompute ", c.recompute, " global ", c.global, " layers ", c.layers);
}

World make_world(Random& random, std::map<std::string, int>& drawn) {
  auto const c = draw_case(random);
  SCOPED_TRACE(describe(c));
  auto const purpose = random.one_in(10) ? Purpose::eval : Purpose::train;
  auto world = lower_all(*test::make_plan(c, purpose));
  EXPECT_TRUE(test::compare(program::verify(world), test::judge(world), "a plan").empty());
  ++drawn[c.schedule], ++drawn[text("zero ", c.zero)], ++drawn[text("recompute ", c.recompute)];
  ++drawn[text("tp ", c.tp)], ++drawn[text("pp ", c.pp)], ++drawn[text("world ", c.world)];
  return world;
}

std::string mutate(World& world, Random& random) {
  std::string done;
  auto const change = [&](auto const& how, int times) {
    for (; times > 0; --times) {
      if (auto const one = how(world, random); !one.empty()) done += one + "; ";
    }
  };
  int const way = random.below(10);
  if (way < 7) {
    change(test::mutate_plan, random.between(1, 2));
  } else if (way < 8) {
    change(test::mutate_order, random.between(1, 3));
  } else {
    change(test::mutate, 1);
  }
  return done;
}

// No false accept, no false reject.
TEST(PlanMutations, the_verifier_and_the_interpreter_agree) {
  int const wanted = test::setting("LAMINA_MUTANTS", 1000);
  std::map<std::string, int> drawn;
  auto broken = test::judge_mutants(
      wanted, test::setting("LAMINA_SEED", 1), [&](Random& random) { return make_world(random, drawn); }, mutate,
      /*mutants_of_a_world=*/12);
  for (auto const& [what, n] : drawn) std::cout << "  plans with " << what << ": " << n << "\n";
  for (char const* what : {"gpipe", "1f1b", "interleaved", "zb-h1", "zero 0", "zero 1", "zero 2", "zero 3", "tp 1",
                           "tp 2", "pp 1", "pp 2", "pp 3", "pp 4", "recompute selective", "recompute full"}) {
    EXPECT_GT(drawn[what], 0) << what;
  }
  EXPECT_GT(broken[""], wanted / 20);
  EXPECT_LT(broken[""], wanted / 2);
  for (char const* rule : {"collective", "deadlock", "message", "overlap", "rows", "slab", "read_before_write",
                           "unordered_read", "unordered_write"}) {
    EXPECT_GT(broken[rule], wanted / 200) << rule;
  }
}

}  // namespace
}  // namespace lamina::plan
