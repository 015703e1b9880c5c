#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "lamina/plan/predict.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {

/// When one rank's compute stream does not compute.
struct Waits {
  std::int64_t stages = 0;       ///< for a message, or at the end for the other coordinates
  std::int64_t collectives = 0;  ///< for these
};

/// One program of all pp coordinates in time.
struct Timeline {
  std::int64_t end = 0;
  std::vector<std::vector<Simulated::Span>> steps;  ///< per pp coordinate and step
  std::vector<Waits> waits;                         ///< per pp coordinate
};

/// The replica that has the most to do, first of equals, and its kind at a pp coordinate.
int busiest_replica(Plan const& plan);
std::size_t kind_at(Plan const& plan, int coordinate, int replica);
int rank_at(Plan const& plan, int coordinate, int replica);  ///< with all other coordinates 0

/// Nanoseconds of a step once it has started; of a communication step among `ranks`.
std::int64_t cost_of(program::Step const& step, MachineModel const& machine, int ranks);
std::int64_t kernel_cost(std::int64_t flops, std::int64_t bytes, MachineModel const& machine);

/// Plays a program; see `predict`.
Timeline play(Plan const& plan, std::string_view program, MachineModel const& machine);
/// Some rank's forward_backward waits for ever.
bool locks_up(Plan const& plan);

/// The actions of the training schedule in a timeline of forward_backward: from the start of the first to the end of
/// the last kernel of each.
Simulated actions_of(Plan const& plan, Timeline const& passes);

}  // namespace lamina::plan
