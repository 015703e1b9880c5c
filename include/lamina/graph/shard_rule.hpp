#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/graph/op.hpp"

namespace lamina::graph {

/// A shard rule laid over the tensors of one node: one letter per dim.
struct ExpandedRule {
  /// Lower-case: as written. Upper-case: the dims that '*' stands for, 'A' first. '.': a block that is never split.
  struct Term {
    std::string letters;  ///< as many as the tensor has dims
    bool plus = false;    ///< '+' in: added by one holder only; out: partial(sum) where it lacks a split letter
    bool same = false;    ///< '=' out: does not depend on a split letter that it lacks and another output has
    bool max = false;     ///< '^' out: partial(max) where it lacks a split letter
    bool as_is = false;   ///< '%' in: taken as it lies, partial included
  };
  std::vector<Term> in, out;
  std::string whole;  ///< letters that are never split, '.' included

  bool may_split(char letter) const { return whole.find(letter) == std::string::npos; }
  /// Occurs in no output: splitting it makes every output partial(sum), or partial(max) where that is marked.
  bool contracted(char letter) const;
};

/// Parses a rule and matches it with the tensors of a node. Grammar: src/graph/README.md.
/// @throws Error "graph.shard_rule.syntax" for text that is no rule, "graph.shard_rule.terms" when the numbers of
/// terms and tensors differ, "graph.shard_rule.dims" when a term does not fit its tensor, "graph.shard_rule.extents"
/// when equal letters have unequal extents.
ExpandedRule expand_rule(ShardRule const& rule, std::span<TensorSpec const> in, std::span<TensorSpec const> out,
                         std::string_view kind);

/// Logical names of the outputs' dims from those of the inputs: equal letters have equal names; "" where no input
/// has the letter or none names it.
/// @throws Error "graph.shard_rule.names" when one letter has two names.
std::vector<std::vector<std::string>> propagate_dims(ExpandedRule const& rule,
                                                     std::span<std::vector<std::string> const> in,
                                                     std::string_view kind);

}  // namespace lamina::graph
