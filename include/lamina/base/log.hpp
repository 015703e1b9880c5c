#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lamina/base/text.hpp"

/// Messages for people, on standard error; results belong on standard output. Thread-safe. One write call per message,
/// so that the lines of ranks that share a terminal stay whole.
namespace lamina::log {

enum class Level { debug, info, warn, error };

/// Where messages go and how they look. The defaults are those of a program; tests give their own.
struct Sink {
  std::function<void(std::string_view)> write;  ///< empty: standard error
  std::function<double()> seconds;              ///< a steady clock; empty: the real one
  bool terminal = false;                        ///< one line is redrawn with '\r'
  bool colour = false;
  int columns = 80;
};

/// Standard error as it is now: a terminal if it is one and TERM is not "dumb"; colours on a terminal unless NO_COLOR
/// is set to anything but "" (no-color.org).
Sink standard_error();

class Logger {
 public:
  explicit Logger(Sink sink);
  ~Logger();

  /// `info` and progress come from rank 0 only, warnings and errors from every rank, marked "[rank 3]" when there is
  /// more than one.
  void set_rank(int rank, int world);
  /// Messages below it are dropped; info at first.
  void set_level(Level level);
  void message(Level level, std::string_view line);
  /// The state of things, which the next call replaces. On a terminal the last line is redrawn, at most 10 times a
  /// second; elsewhere a plain line, at most one in 10 seconds. `last` is always shown and ends the line.
  void progress(std::string_view line, bool last = false);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The logger of the program.
Logger& logger();

inline void set_rank(int rank, int world) { logger().set_rank(rank, world); }
inline void set_level(Level level) { logger().set_level(level); }
inline void progress(std::string_view line, bool last = false) { logger().progress(line, last); }
template <class... Ts>
void debug(Ts const&... parts) {
  logger().message(Level::debug, text(parts...));
}
template <class... Ts>
void info(Ts const&... parts) {
  logger().message(Level::info, text(parts...));
}
template <class... Ts>
void warn(Ts const&... parts) {
  logger().message(Level::warn, text(parts...));
}
template <class... Ts>
void error(Ts const&... parts) {
  logger().message(Level::error, text(parts...));
}

}  // namespace lamina::log
