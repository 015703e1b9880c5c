#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "plan/detail/plan.hpp"

namespace lamina::plan {

/// Order of groups in texts: tp, dp, messages by pair of pp coordinates, ties, all.
std::array<int, 3> group_order(std::string const& name);

/// What the groups of one name move in a training step.
struct Traffic {
  std::string group;  ///< "dp", "tp", "pp.0>1", "tie.0+3", "control"
  int ranks = 0;      ///< of one such group
  program::StepKind kind = program::StepKind::send;
  std::int64_t operations = 0;  ///< of the rank that has most
  std::int64_t rank_bytes = 0;  ///< that the rank sends that sends most
  std::int64_t bytes = 0;       ///< that all ranks send
};

/// Of forward_backward, control and update; in the order of the groups, messages by ordered pair of pp coordinates.
/// What padding and short rows change is left out: every rank of a group is taken to send the same.
std::vector<Traffic> traffic(Plan const& plan);

/// How many ranks are of each kind.
std::vector<std::int64_t> ranks_per_kind(Plan const& plan);

/// Bytes that all ranks send over dp in a step if this ZeRO stage were in force (Rajbhandari et al., 2020), with
/// everything else as planned.
std::int64_t zero_bytes(Plan const& plan, int zero);

/// What the user should know; for Plan::notes.
std::vector<std::string> notes_of(Plan const& plan);

}  // namespace lamina::plan
