#pragma once

#include <span>
#include <string>
#include <vector>

#include "lamina/program/program.hpp"
#include "support/random.hpp"

namespace lamina::test {

/// One mutation in progress: a private copy of one rank's template and binding.
struct Case {
  program::Template t;
  program::Binding b;
  Random& random;

  program::Program* program() {
    if (t.programs.empty()) return nullptr;
    auto& p = t.programs[static_cast<std::size_t>(random.below(static_cast<int>(t.programs.size())))];
    return p.steps.empty() ? nullptr : &p;
  }
  int any_step(program::Program const& p) { return random.below(static_cast<int>(p.steps.size())); }
  int any_buffer() { return random.below(static_cast<int>(t.buffers.size())); }
  /// A random step that a condition accepts, or -1.
  template <class Condition>
  int step_where(program::Program const& p, Condition const& condition) {
    std::vector<int> found;
    for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) {
      if (condition(p.steps[static_cast<std::size_t>(i)])) found.push_back(i);
    }
    return found.empty() ? -1 : random.of(found);
  }
};

using Mutation = std::string (*)(Case&);
std::span<Mutation const> step_mutations();   ///< steps, operands, order
std::span<Mutation const> order_mutations();  ///< what comes before what between communication steps
std::span<Mutation const> plan_mutations();   ///< what may go wrong in a plan
std::span<Mutation const> table_mutations();  ///< buffers, arenas, names, groups, bindings

}  // namespace lamina::test
