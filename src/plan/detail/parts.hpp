#pragma once

#include <string>

#include "plan/detail/plan.hpp"

namespace lamina::plan {

/// Fills `stage_of` and `at` from pipeline.stages and the costs of the graph's layers. @throws Error "plan.stages.*".
void assign_stages(Plan& plan, graph::Graph const& graph);

/// Fuses, recomputes, appends the optimizer, fixes layouts, stages and schedules; appends the part and notes who holds
/// its parameters. Nothing for an empty graph.
void add_part(Plan& plan, std::string program, graph::Graph const& graph);

/// Per replica: from batch.global, batch.micro and batch.shares.
std::vector<std::int64_t> replica_micro_batches(config::RunConfig const& config);

}  // namespace lamina::plan
