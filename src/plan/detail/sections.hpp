#pragma once

#include <string>
#include <vector>

#include "lamina/plan/predict.hpp"
#include "plan/detail/plan.hpp"

/// Sections of `--print plan`. None grows with the number of ranks.
namespace lamina::plan {

/// "0-3 8": as `ranges`, but of many pieces the first ones, the last and the count: "0-7 64-71 ... 960-967 (128
/// ranks)".
std::string rank_list(std::vector<int> const& sorted);
/// The ranks with these pp coordinates (nullptr: any) and of this kind (-1: any).
std::vector<int> ranks_at(Plan const& plan, std::vector<int> const* coordinates, int kind = -1);

std::string groups_text(Plan const& plan);
std::string layers_text(Plan const& plan);
/// The schedule as a chart, stages down, time across; nothing without stages.
std::string pipeline_text(Plan const& plan, Prediction const& predicted, MachineModel const& machine);
std::string traffic_text(Plan const& plan);
std::string ranks_memory_text(Plan const& plan);
std::string prediction_text(Plan const& plan, Prediction const& predicted, MachineModel const& machine);

}  // namespace lamina::plan
