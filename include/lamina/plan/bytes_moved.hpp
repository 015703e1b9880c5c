#pragma once

#include <cstdint>

#include "lamina/plan/plan.hpp"

namespace lamina::plan {

/// Bytes that all ranks together send in one optimizer step: the passes over all micro-batches, the agreement of all
/// ranks, and the update.
std::int64_t bytes_moved(Plan const& plan);

}  // namespace lamina::plan
