#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"
#include "support/program_oracle.hpp"
#include "support/program_worlds.hpp"

/// The verifier beside the interpreter.
namespace lamina::test {

inline int setting(char const* name, int otherwise) {
  char const* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

inline std::string describe(World const& world) {
  std::string out;
  for (auto const& set : world) out += program::print(set);
  return out;
}

inline std::string describe(std::vector<program::Problem> const& problems) {
  std::string out;
  for (auto const& p : problems)
    out += text("  [", p.rule, "] rank ", p.rank, " '", p.program, "' step ", p.step, ": ", p.message, "\n");
  return out;
}

inline std::string describe(Verdict const& verdict) {
  std::string out;
  for (auto const& f : verdict.findings)
    out += text("  ", f.rule, " rank ", f.rank, " '", f.program, "' step ", f.step, "\n");
  return out;
}

inline std::size_t count(std::string const& s, std::string const& word) {
  std::size_t n = 0;
  for (auto at = s.find(word); at != s.npos; at = s.find(word, at + 1)) ++n;
  return n;
}

/// The message says where: rank, program, the step and the other party.
inline void expect_message(program::Problem const& p) {
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
inline bool confirms(Verdict const& verdict, program::Problem const& p) {
  bool const between_ranks =
      p.rule == "group_table" || p.rule == "collective" || p.rule == "message" || p.rule == "issue_order";
  return between_ranks ? verdict.has_rule(p.rule) : verdict.has({p.rule, p.rank, p.program, p.step});
}

/// Compares the two; the rules that were broken.
inline std::set<std::string> compare(std::vector<program::Problem> const& problems, Verdict const& verdict,
                                     std::string const& what) {
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

/// Judges `wanted` mutants by both; how many broke each rule, and under "" how many broke none.
template <class Make, class Mutate>
std::map<std::string, int> judge_mutants(int wanted, int first, Make const& make, Mutate const& mutate,
                                         int mutants_of_a_world = 6) {
  std::map<std::string, int> broken;
  int judged = 0;
  for (int seed = first; judged < wanted && !::testing::Test::HasFailure(); ++seed) {
    Random random(static_cast<std::uint64_t>(seed));
    auto const world = make(random);
    Interpreter interpreter;
    for (int k = 0; k < mutants_of_a_world && judged < wanted && !::testing::Test::HasFailure(); ++k) {
      auto mutant = world;
      auto const done = mutate(mutant, random);
      if (done.empty()) continue;
      ++judged;
      auto const what = text("seed ", seed, " mutant ", k, ": ", done);
      auto const rules = compare(program::verify(mutant), interpreter.judge(mutant), what);
      if (rules.empty()) ++broken[""];
      for (auto const& rule : rules) ++broken[rule];
      auto const& one = random.of(mutant);
      compare(program::verify(one), interpreter.judge(one), what + " alone");
      if (::testing::Test::HasFailure()) std::cout << what << "\n" << describe(mutant);
    }
  }
  std::cout << judged << " mutants, accepted by both: " << broken[""] << ", refused by both: " << judged - broken[""]
            << "\n";
  for (auto const& [rule, n] : broken) std::cout << "  " << (rule.empty() ? "sound" : rule) << ": " << n << "\n";
  return broken;
}

}  // namespace lamina::test
