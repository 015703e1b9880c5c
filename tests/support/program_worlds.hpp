#pragma once

#include <vector>

#include "lamina/program/program.hpp"
#include "support/random.hpp"

namespace lamina::test {

using World = std::vector<program::ProgramSet>;

/// A sound set of programs of 1 to 8 ranks, of one of four kinds: every rank its own (collectives and messages in
/// groups of all sizes), all ranks one template (collectives over a small mesh), stages of a pipeline (messages between
/// neighbours, several ranks per stage), or a mesh as below.
World make_random_world(Random& random);
/// Three or four ranks that mostly send to each other, in groups of all sizes; every buffer has its own bytes.
World make_message_world(Random& random);
/// What a plan looks like, in small: a mesh of pipeline stages, replicas and tensor-parallel ranks; 1F1B or all
/// forwards first, a stream per ordered pair of stages; collectives of tp in every action, ZeRO reduce-scatter and
/// all-gather over dp, a gradient shared by the first and the last stage.
World make_mesh_world(Random& random);

}  // namespace lamina::test
