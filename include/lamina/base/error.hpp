#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace lamina {

/// What every error message says. No member has a default, so a message without a fix does not
/// compile (-Werror=missing-field-initializers).
struct ErrorInfo {
  std::string code;      ///< "<module>.<thing>.<rule>"; never reused for another rule
  std::string subject;   ///< what failed: file, layer, rank, call
  std::string found;     ///< the offending values
  std::string expected;  ///< what would have been right
  std::string fix;       ///< what to do next
};

/// Exit codes of the program; the README lists them for scripts.
enum class ExitCode : int {
  ok = 0,
  usage = 2,          // usage or run file
  bad_input = 3,      // data or checkpoint
  environment = 4,    // machine, launcher, build
  memory = 5,         // the plan does not fit
  numerical = 6,      // NaN, divergence
  file_system = 7,    // disk full, I/O error
  peer_lost = 8,      // dead or hung rank
  internal = 70,      // a bug in Lamina
  stopped_early = 75  // a checkpoint was written: start again
};

/// The one exception type of Lamina. `what()` is the formatted message.
class Error : public std::exception {
 public:
  explicit Error(ErrorInfo info, std::source_location at = std::source_location::current());
  /// An error that was first thrown elsewhere, by another rank or with less to say: `place` is that one's.
  Error(ErrorInfo info, std::string place);

  char const* what() const noexcept override { return text_.c_str(); }
  ErrorInfo const& info() const noexcept { return info_; }
  /// Where it was thrown: "src/io/file.cpp:35".
  std::string const& place() const noexcept { return place_; }
  /// Follows from the code: see `exit_code_of`.
  ExitCode exit_code() const noexcept;

 private:
  ErrorInfo info_;
  std::string place_, text_;
};

/// Throws `Error`.
[[noreturn]] void fail(ErrorInfo info, std::source_location at = std::source_location::current());

/// The exit code of an error code: the longest matching prefix of one table (error.cpp);
/// `internal` for a code that is not in the table.
ExitCode exit_code_of(std::string const& code) noexcept;

/// Several problems as one message, each with its own code, for checks that report everything at once.
/// Throws nothing when `problems` is empty; otherwise an Error with the first problem's code.
void fail_if_any(std::vector<ErrorInfo> const& problems, std::source_location at = std::source_location::current());

/// The message as it is printed: "error[code]: subject", then found, expected, fix, at.
std::string format_error(ErrorInfo const& info, std::string_view place);

}  // namespace lamina
