#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "lamina/data/source.hpp"
#include "lamina/train/metrics.hpp"
#include "lamina/train/run_directory.hpp"
#include "lamina/train/session.hpp"
#include "lamina/train/train.hpp"

namespace lamina::train::detail {

/// What one step did, equal on every rank.
struct StepResult {
  double loss = 0, grad_norm = 0, lr = 0, step_s = 0, exposed_s = 0;
  std::int64_t targets = 0;
  bool finite = true;
  bool updated = true;
  int stop = 0;  ///< signal number or deadline that some rank saw; 0: go on
};

/// A number no signal has.
constexpr int deadline_stop = 1000;

/// One optimizer step: data in, forward and backward of all micro-batches, the control all-reduce, update.
class Stepper {
 public:
  /// @param origin  see data::Feeder.
  Stepper(Session& session, data::Source const& source, std::int64_t origin = 0);
  /// @param stop  what this rank saw: a signal number, deadline_stop, or 0.
  StepResult run(std::int64_t step, int stop);

 private:
  Session& session_;
  data::Feeder feeder_;
  std::vector<std::vector<void*>> inputs_;  // per micro-batch and field; looked up once: a step allocates nothing
  double const* loss_;                      // null: another rank counts it
};

}  // namespace lamina::train::detail
