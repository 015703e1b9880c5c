#pragma once

#include <string>

#include "support/program_worlds.hpp"

namespace lamina::test {

/// Changes one thing of a world: a step, an operand, an order, a place in memory, a group, a binding. Returns what it
/// did, "" when it found nothing of the kind it chose. Many changes break a rule, some mean nothing.
std::string mutate(World& world, Random& random);
/// Changes only the order of communication on one rank, in ways that keep what matches what.
std::string mutate_order(World& world, Random& random);
/// Changes communication as a wrong plan would: lost, doubled, crossed, reordered or resized; waits that are missing or
/// go round in circles.
std::string mutate_plan(World& world, Random& random);

}  // namespace lamina::test
