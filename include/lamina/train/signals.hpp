#pragma once

namespace lamina::train {

/// SIGUSR1, SIGTERM and SIGINT ask for a checkpoint at the next step boundary; a second one ends the process at once
/// with its default action (files are safe: nothing is ever half-renamed). The handler only sets a flag.
/// Made first thing by a program that trains: a signal that comes while MPI starts or data are opened counts as well.
class StopSignals {
 public:
  /// Installs the handlers and lets through what waits since `hand_on`. Inside another StopSignals it does nothing.
  StopSignals();
  ~StopSignals();  ///< puts the earlier ones back
  StopSignals(StopSignals const&) = delete;
  StopSignals& operator=(StopSignals const&) = delete;

  /// Number of the signal that arrived since the outermost StopSignals was made, 0 if none has.
  static int received();
  /// Before this program executes itself again: what arrived, and what arrives from now on, waits for the StopSignals
  /// of the next image. Does nothing when there is no StopSignals.
  static void hand_on();
};

}  // namespace lamina::train
