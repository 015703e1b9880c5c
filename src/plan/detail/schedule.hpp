#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::plan {

/// One micro-batch visits one stage. A whole backward is its two parts together: `backward_input` makes what goes on to
/// the stage before, `backward_weight` the gradients of parameters.
struct Action {
  enum class Kind : std::uint8_t { forward, backward, backward_input, backward_weight };
  Kind kind = Kind::forward;
  int micro_batch = 0;
  int stage = 0;  ///< virtual stage
  friend auto operator<=>(Action const&, Action const&) = default;
};

/// Who does what in which order. When something happens follows from the order and from what an action waits for:
/// forward (m, k) for forward (m, k - 1); backward (m, k) for forward (m, k) and backward (m, k + 1);
/// backward_weight (m, k) for backward_input (m, k).
struct Schedule {
  std::string name;
  int coordinates = 1;                       ///< of the mesh axis pp
  std::vector<int> at;                       ///< virtual stage -> pp coordinate
  std::vector<std::vector<Action>> actions;  ///< per pp coordinate, in order
  friend bool operator==(Schedule const&, Schedule const&) = default;
};

/// Virtual stage k at coordinate k % coordinates.
std::vector<int> cyclic(int coordinates, int chunks);

/// A schedule by its name in the run file.
/// - gpipe: all forwards, then all backwards (Huang et al., "GPipe", 2019).
/// - 1f1b: stage k of K holds at most K - k micro-batches (PipeDream-Flush: Narayanan et al., 2021a).
/// - interleaved: several stages per coordinate in turns of p micro-batches (Megatron-LM: Narayanan et al., 2021b);
///   `at` must be cyclic.
/// - zb-h1: 1F1B with the weight part of the backward put where a coordinate would wait (Qi et al., "Zero Bubble
///   Pipeline Parallelism", 2024); no coordinate holds more micro-batches than the first does under 1F1B. Stage 0,
///   whose input has no gradient, does whole backwards where that makes no step longer.
/// All but interleaved take any `at`, also one that returns to an earlier coordinate. Deterministic.
/// @throws Error "plan.schedule.kind", "plan.schedule.at", "plan.schedule.micro_batches" (interleaved, with the
/// multiples of p).
Schedule make_schedule(std::string_view kind, std::vector<int> const& at, int coordinates, int micro_batches);

/// Whether any backward is in two parts.
bool has_weight_actions(Schedule const& schedule);

/// Where the actions of a schedule stand in a file: per coordinate and action the line, from 1.
struct ScheduleLines {
  std::string file;
  std::vector<std::vector<int>> lines;
};

/// Every (micro-batch, stage) has one forward, and one backward or one pair of its parts, at the stage's coordinate,
/// and the order is possible: it is played. @return all problems, in words; none when the schedule is sound.
std::vector<std::string> find_problems(Schedule const& schedule, std::vector<int> const& at, int micro_batches,
                                       ScheduleLines const* lines = nullptr);
/// @throws Error "plan.schedule.unsound" with all problems.
void check(Schedule const& schedule, std::vector<int> const& at, int micro_batches,
           ScheduleLines const* lines = nullptr);

/// As `parse_schedule` reads it; the format is in src/plan/README.md.
std::string to_text(Schedule const& schedule);
struct ParsedSchedule {
  Schedule schedule;
  ScheduleLines lines;
};
/// @param at  the stages of the run, for a file that does not give them; empty: one per coordinate of the file.
/// @throws Error "plan.schedule.syntax" with all lines that do not read.
ParsedSchedule parse_schedule(std::string const& text, std::string const& file, std::vector<int> const& at = {});
/// Reads, parses and checks. @throws Error also "plan.schedule.file" when it cannot be read.
Schedule load_schedule(std::string const& file, std::vector<int> const& at, int micro_batches);

/// "F3.1": letter, micro-batch, stage. Letters: F forward, B backward, I backward_input, W backward_weight.
std::string to_text(Action const& action);
char letter_of(Action::Kind kind);

/// Integer nanoseconds: per stage and Action::Kind; a message between two coordinates.
struct ActionCosts {
  std::vector<std::array<std::int64_t, 4>> stage;
  std::int64_t message = 0;
};

struct Simulated {
  struct Span {
    std::int64_t start = 0, end = 0;
    friend bool operator==(Span const&, Span const&) = default;
  };
  std::vector<std::vector<Span>> spans;  ///< as Schedule::actions
  std::int64_t makespan = 0;
  double bubble = 0;           ///< part of the makespan in which a coordinate waits, mean over the coordinates
  std::vector<int> in_flight;  ///< per coordinate: most visits between forward and the end of the backward
};

/// Plays a sound schedule: an action starts when its coordinate is free and what it waits for has arrived. Messages
/// overlap with everything; a coordinate never waits for one to leave.
/// @throws Error "plan.schedule.unsound" when the order is impossible.
Simulated simulate(Schedule const& schedule, ActionCosts const& costs);

/// Coordinates down, time across, at most `columns` wide: "F0 B0" by micro-batch where there is room, '.' for waiting.
std::string chart(Schedule const& schedule, Simulated const& times, int columns = 120);

}  // namespace lamina::plan
