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

/// data::tokenizer_hash then and now; "" says nothing.
struct TokenizerHashes {
  std::string before, now;
};

/// @throws Error "train.resume.<what>" (exit 3) when model, tokenizer (its name, or the content of its file),
/// optimizer kind or seed changed.
ResumeChanges check_resume(config::RunConfig const& before, config::RunConfig const& now,
                           TokenizerHashes const& tokenizer = {});

}  // namespace lamina::train
