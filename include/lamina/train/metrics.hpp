#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace lamina::train {

/// One line of metrics.jsonl. Numbers that are not finite are written as null: JSON has no NaN.
struct StepMetrics {
  std::int64_t step = 0;
  double loss = 0, grad_norm = 0, lr = 0;
  std::int64_t tokens = 0;  ///< so far, targets that count
  double step_s = 0, tokens_per_s = 0, mfu = 0, exposed_comm_s = 0;
  std::int64_t peak_bytes = 0;  ///< high-water mark of this rank's resident memory
  bool has_loss = true;         ///< false: no target in this step, loss is null
};

/// metrics.jsonl and the TensorBoard event file of a run. Rank 0 only. Every line is flushed.
class MetricsLog {
 public:
  /// Continues an earlier metrics.jsonl: lines of steps after `resumed_step` are cut, so is a line a crash left
  /// unfinished.
  /// @throws Error "io.run_dir.*".
  MetricsLog(std::string const& run_dir, std::int64_t resumed_step, bool tensorboard);
  ~MetricsLog();

  void write(StepMetrics const& m);
  /// valid_accuracy is left out where there is none.
  void write_evaluation(std::int64_t step, double valid_loss, std::optional<double> valid_accuracy = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lamina::train
