#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "lamina/program/program.hpp"

/// A second opinion on programs, written from src/program/README.md and not from the verifier, by other means: happens
/// before as a boolean matrix closed by Warshall's algorithm, every pair of uses and of buffers compared, boxes cell by
/// cell, every pair of ranks compared, and progress as a simulation with tokens until nothing moves. Slow and
/// obvious: for small worlds.
namespace lamina::test {

struct Finding {
  std::string rule;
  int rank;
  std::string program;
  int step;
  friend auto operator<=>(Finding const&, Finding const&) = default;
};

struct Verdict {
  std::set<Finding> findings;
  bool sound() const { return findings.empty(); }
  bool has_rule(std::string const& rule) const;
  bool has(Finding const& f) const { return findings.contains(f); }
};

/// Remembers what it found in the templates that it has seen, for worlds that differ in one of them.
class Interpreter {
 public:
  Verdict judge(program::ProgramSet const& set);
  Verdict judge(std::span<program::ProgramSet const> ranks);

 private:
  struct Known {
    std::shared_ptr<program::Template const> shape;
    Verdict verdict;  // of rank 0
    bool sound;       // the rest of the world may look at such a rank
  };
  /// Adds what is wrong with one rank's template.
  bool judge_template(program::ProgramSet const& set, Verdict& verdict);
  std::map<program::Template const*, Known> known_;
};

Verdict judge(program::ProgramSet const& set);
Verdict judge(std::span<program::ProgramSet const> ranks);

}  // namespace lamina::test
