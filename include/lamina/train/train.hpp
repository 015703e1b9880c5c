#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"
#include "lamina/config/run_config.hpp"
#include "lamina/models/models.hpp"

namespace lamina::train {

struct TrainOptions {
  std::int64_t stop_after_step = 0;  ///< --steps N: stop there with a checkpoint, exit 0; 0: run.steps
  bool fresh = false;
  bool checkpoints = true;  ///< false: none is written, not even at the end; for measurements
  double max_hours = 0;  ///< deadline from the start of the process; 0: none
  int threads = 1;
  std::vector<std::string> command_line;  ///< for the record
  std::vector<std::string> hosts;         ///< per rank, for the record
  std::vector<models::Registration> registered;
};

/// Trains a resolved run: start or resume, steps, metrics, evaluation, checkpoints, signals. Collective.
/// Determinism: as run.determinism says; a resumed run repeats the uninterrupted one bit by bit at the same number of
/// ranks.
/// @returns ok when the asked step was reached, stopped_early after a signal or deadline (a checkpoint was written,
/// unless it came before the first step of this start).
/// @throws Error with the exit code of its kind; status.json says why.
ExitCode train(config::RunConfig const& config, comm::Communicator world, TrainOptions const& options);

}  // namespace lamina::train
