#pragma once

namespace lamina::train {

/// SIGUSR1, SIGTERM and SIGINT ask for a checkpoint at the next step boundary; a second one ends the process at once
/// with its default action (files are safe: nothing is ever half-renamed). The handler only sets a flag.
class StopSignals {
 public:
  StopSignals();   ///< installs the handlers
  ~StopSignals();  ///< puts the earlier ones back
  StopSignals(StopSignals const&) = delete;
  StopSignals& operator=(StopSignals const&) = delete;

  /// Number of the signal that arrived, 0 if none has.
  static int received();
};

}  // namespace lamina::train
