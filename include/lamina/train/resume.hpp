#pragma once

#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"

namespace lamina::train {

/// What may change between the starts of one run. Mesh, precision, ZeRO, placement, micro, steps and pipeline may.
/// @returns warnings: lr, data files or batch changed.
/// @throws Error "train.resume.<what>" (exit 3) when model, tokenizer, optimizer kind or seed changed.
std::vector<std::string> check_resume(config::RunConfig const& before, config::RunConfig const& now);

}  // namespace lamina::train
