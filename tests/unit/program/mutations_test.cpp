// The verifier against an independent interpreter, on random sound worlds and on random changes of them.
// LAMINA_MUTANTS: how many changes (default 2400); LAMINA_SEED: where to start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"
#include "support/program_compare.hpp"
#include "support/program_mutations.hpp"
#include "support/program_worlds.hpp"

namespace lamina::program {
namespace {

using test::compare;
using test::describe;
using test::judge_mutants;
using test::Random;
using test::setting;
using test::World;

TEST(Mutations, random_worlds_are_sound_for_both_and_read_back) {
  std::map<int, int> sizes;
  for (int seed = 0; seed < 300; ++seed) {
    Random random(static_cast<std::uint64_t>(seed));
    auto const world = test::make_random_world(random);
    ++sizes[static_cast<int>(world.size())];
    auto const rules = compare(verify(world), test::judge(world), text("world ", seed));
    ASSERT_TRUE(rules.empty()) << "seed " << seed << "\n" << describe(verify(world)) << describe(world);
    for (auto const& set : world) ASSERT_TRUE(parse(print(set)) == set);
  }
  for (int n = 1; n <= 5; ++n) EXPECT_GT(sizes[n], 5) << n << " ranks";
}

TEST(Mutations, the_verifier_and_the_interpreter_agree) {
  int const wanted = setting("LAMINA_MUTANTS", 2400);
  auto broken =
      judge_mutants(wanted, setting("LAMINA_SEED", 1000), test::make_random_world, [](World& world, Random& random) {
        auto done = test::mutate(world, random);
        if (random.one_in(4)) done += " " + test::mutate(world, random);
        return done;
      });
  EXPECT_GT(broken[""], wanted / 10);
  EXPECT_LT(broken[""], wanted * 2 / 3);
  // Every rule of src/program/README.md was broken at least once.
  for (char const* rule : {"after",       "alignment", "arena",          "binding",        "bytes",
                           "collective",  "deadlock",  "foreign_buffer", "group_table",    "id",
                           "issue_order", "lifetime",  "members",        "message",        "name",
                           "operand",     "overlap",   "peer",           "ranks",          "read_before_write",
                           "rows",        "slab",      "stream",         "unordered_read", "unordered_write"}) {
    EXPECT_GT(broken[rule], 0) << rule;
  }
}

// Orders of messages and collectives in which nothing but progress can be wrong.
TEST(Mutations, the_verifier_and_the_interpreter_agree_about_progress) {
  int const wanted = setting("LAMINA_MUTANTS", 2400) / 2;
  auto broken =
      judge_mutants(wanted, setting("LAMINA_SEED", 1000), test::make_message_world, [](World& world, Random& random) {
        std::string done;
        for (int n = random.between(1, 4); n > 0; --n) done += test::mutate_order(world, random);
        return done;
      });
  EXPECT_GT(broken[""], wanted / 10);
  EXPECT_GT(broken["deadlock"], wanted / 20);
}

// Pipelines over meshes, changed as wrong plans would be. Two or three changes meet where one is often harmless.
TEST(Mutations, the_verifier_and_the_interpreter_agree_about_plans) {
  int const wanted = setting("LAMINA_MUTANTS", 2400) / 2;
  auto broken =
      judge_mutants(wanted, setting("LAMINA_SEED", 1000), test::make_mesh_world, [](World& world, Random& random) {
        std::string done;
        for (int n = random.between(1, 3); n > 0; --n) {
          if (auto const one = test::mutate_plan(world, random); !one.empty()) done += one + "; ";
        }
        return done;
      });
  EXPECT_GT(broken[""], wanted / 20);
  for (char const* rule :
       {"collective", "deadlock", "message", "overlap", "rows", "unordered_read", "unordered_write"}) {
    EXPECT_GT(broken[rule], wanted / 100) << rule;
  }
}

}  // namespace
}  // namespace lamina::program
