#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lamina/plan/plan.hpp"

namespace lamina::plan {

/// How a run is planned again with other settings: its graphs and machine follow from the resolved run file.
struct Again {
  std::int64_t world = 1;
  std::function<Graphs(config::RunConfig const&)> graphs;
  std::function<Machine(config::RunConfig const&)> machine;
};

/// What one setting would do. Nothing is compared with memory.limit, and the programs are not verified.
struct Lever {
  std::string setting;          ///< as in the run file: "batch.micro = 2"; "as it is" for the first
  std::string refused = "";     ///< why it is not possible
  std::int64_t peak_bytes = 0;  ///< planned, of the fullest rank
  std::int64_t step_ns = 0;     ///< predicted
};

/// A training run as it is and with each memory lever of its own: recomputation, micro-batch size, sequence parallelism
/// (tp > 1), ZeRO (dp > 1), bf16. Settings that are in force already are left out.
std::vector<Lever> levers(config::RunConfig const& config, Again const& again);
/// Small enough to be planned a dozen times in seconds.
bool is_cheap_again(Plan const& planned);
/// As a table. A run whose plans are too large to be made a dozen times gets a line that says so. @param planned the
/// run as it is.
std::string levers_text(Plan const& planned, config::RunConfig const& config, Again const& again);

/// The smallest change of settings with which a training run fits.
struct Fit {
  std::vector<std::string> changes;  ///< none: it fits as it is
  std::int64_t peak_bytes = 0, step_ns = 0;
  std::int64_t largest_micro = 0;  ///< when it fits as it is: the largest batch.micro (by doubling) that does
  int tried = 0;                   ///< plans that were made
};

/// Settings are changed one at a time, then two, three and four together, then with the ranks divided otherwise between
/// dp, tp and pp. Among equally many changes that fit the one of the shortest predicted step is taken. What changes the
/// result of the training (precision, batch.global) is left alone.
/// @param limit bytes of a rank.
/// @throws Error "plan.memory.fit" (exit 5) when nothing that was tried fits, with the leanest of these; what `make`
/// throws where the run cannot be planned as it is.
Fit fit(config::RunConfig const& config, Again const& again, std::int64_t limit);
std::string to_text(Fit const& fit, std::int64_t limit);

}  // namespace lamina::plan
