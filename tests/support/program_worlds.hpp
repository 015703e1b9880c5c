#pragma once

#include <vector>

#include "lamina/program/program.hpp"
#include "support/random.hpp"

namespace lamina::test {

using World = std::vector<program::ProgramSet>;

/// A sound set of programs of 1 to 5 ranks, of one of three kinds: every rank its own (collectives and messages in
/// groups of all sizes), all ranks one template (collectives over a small mesh), or stages of a pipeline (messages
/// between neighbours, several ranks per stage).
World make_random_world(Random& random);
/// Three or four ranks that mostly send to each other, in groups of all sizes; every buffer has its own bytes.
World make_message_world(Random& random);

}  // namespace lamina::test
