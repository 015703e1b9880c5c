#pragma once

#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"

namespace lamina::train {

/// What changed between two starts of one run, one line each: "batch.micro changed from 4 to 2 since the checkpoint".
struct ResumeChanges {
  std::vector<std::string> accepted;  ///< mesh, precision, ZeRO, placement, micro, steps, pipeline
  std::vector<std::string> warnings;  ///< what makes it another training: learning rate, optimizer, data files, batch
};

/// @throws Error "train.resume.<what>" (exit 3) when model, tokenizer, optimizer kind or seed changed.
ResumeChanges check_resume(config::RunConfig const& before, config::RunConfig const& now);

}  // namespace lamina::train
