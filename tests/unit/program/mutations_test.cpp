// The verifier against an independent interpreter, on random sound worlds and on random changes of them.
// LAMINA_MUTANTS: how many changes (default 2400); LAMINA_SEED: where to start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"
#include "support/program_mutations.hpp"
#include "support/program_oracle.hpp"
#include "support/program_worlds.hpp"

namespace lamina::program {
namespace {

using test::Finding;
using test::Random;
using test::Verdict;
using test::World;

int setting(char const* name, int otherwise) {
  char const* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

std::string describe(World const& world) {
  std::string out;
  for (auto const& set : world) out += print(set);
  return out;
}

std::string describe(std::vector<Problem> const& problems) {
  std::string out;
  for (auto const& p : problems)
    out += text("  [", p.rule, "] rank ", p.rank, " '", p.program, "' step ", p.step, ": ", p.message, "\n");
  return out;
}

std::string describe(Verdict const& verdict) {
  std::string out;
  for (auto const& f : verdict.findings)
    out += text("  ", f.rule, " rank ", f.rank, " '", f.program, "' step ", f.step, "\n");
  return out;
}

std::size_t count(std::string const& s, std::string const& word) {
  std::size_t n = 0;
  for (auto at = s.find(word); at != s.npos; at = s.find(word, at + 1)) ++n;
  return n;
}

/// The message says where: rank, program, the step and the other party.
void expect_message(Problem const& p) {
  if (p.rank >= 0) {
    EXPECT_THAT(p.message, ::testing::HasSubstr(text("rank ", p.rank)));
  }
  if (!p.program.empty()) {
    EXPECT_THAT(p.message, ::testing::HasSubstr(text("program '", p.program, "'")));
  }
  if (p.step >= 0) {
    EXPECT_THAT(p.message, ::testing::HasSubstr(text("step ", p.step, " (")));
  }
  if (p.rule.starts_with("unordered")) {
    EXPECT_GE(count(p.message, "step "), 2u) << p.message;
  }
  if (p.rule == "deadlock" || p.rule == "collective" || p.rule == "message" || p.rule == "issue_order") {
    EXPECT_GE(count(p.message, "rank "), 2u) << p.message;
    EXPECT_GE(count(p.message, "step "), 1u) << p.message;
  }
}

/// No false reject: every problem is one that the interpreter found too, at the same place where that is one place.
bool confirms(Verdict const& verdict, Problem const& p) {
  bool const between_ranks =
      p.rule == "group_table" || p.rule == "collective" || p.rule == "message" || p.rule == "issue_order";
  return between_ranks ? verdict.has_rule(p.rule) : verdict.has({p.rule, p.rank, p.program, p.step});
}

/// Compares the two; the rules that were broken.
std::set<std::string> compare(std::vector<Problem> const& problems, Verdict const& verdict, std::string const& what) {
  std::set<std::string> rules;
  EXPECT_EQ(problems.empty(), verdict.sound()) << what << "\nverifier:\n"
                                               << describe(problems) << "interpreter:\n"
                                               << describe(verdict);
  for (auto const& p : problems) {
    rules.insert(p.rule);
    expect_message(p);
    EXPECT_TRUE(confirms(verdict, p)) << what << "\nverifier:\n"
                                      << describe({p}) << "interpreter:\n"
                                      << describe(verdict);
  }
  return rules;
}

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

/// Judges `wanted` mutants by both; how many broke each rule, and under "" how many broke none.
template <class Make, class Mutate>
std::map<std::string, int> judge_mutants(int wanted, int first, Make const& make, Mutate const& mutate) {
  std::map<std::string, int> broken;
  int judged = 0;
  for (int seed = first; judged < wanted && !::testing::Test::HasFailure(); ++seed) {
    Random random(static_cast<std::uint64_t>(seed));
    auto const world = make(random);
    for (int k = 0; k < 6 && judged < wanted && !::testing::Test::HasFailure(); ++k) {
      auto mutant = world;
      auto const done = mutate(mutant, random);
      if (done.empty()) continue;
      ++judged;
      auto const what = text("seed ", seed, " mutant ", k, ": ", done);
      auto const rules = compare(verify(mutant), test::judge(mutant), what);
      if (rules.empty()) ++broken[""];
      for (auto const& rule : rules) ++broken[rule];
      auto const& one = random.of(mutant);
      compare(verify(one), test::judge(one), what + " alone");
      if (::testing::Test::HasFailure()) std::cout << what << "\n" << describe(mutant);
    }
  }
  std::cout << judged << " mutants\n";
  for (auto const& [rule, n] : broken) std::cout << "  " << (rule.empty() ? "sound" : rule) << ": " << n << "\n";
  return broken;
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
