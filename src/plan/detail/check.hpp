#pragma once

#include "plan/detail/plan.hpp"

namespace lamina::plan {

/// What does not need the layouts: batch sizes and shares. @throws Error "plan.batch.*".
void require_request(Plan const& plan, Graphs const& graphs);

/// @throws Error "plan.memory.limit" when a rank needs more than the run or the machine allows: the biggest consumers,
/// and what would help.
void require_memory(Plan const& plan);

}  // namespace lamina::plan
