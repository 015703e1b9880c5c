#pragma once

#include "support/program_oracle.hpp"

/// The parts of the oracle.
namespace lamina::test {

/// Persistent buffers share no byte with anything.
void judge_persistent_bytes(program::Template const& t, int rank, Verdict& verdict);
/// Reads, writes and shared bytes of one program of one rank.
void judge_order(program::Template const& t, int program, int rank, Verdict& verdict);
/// Communicators, matching, issue order and progress.
void judge_world(std::vector<program::ProgramSet const*> const& ranks, Verdict& verdict);

}  // namespace lamina::test
