#include "lamina/base/fault.hpp"

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::fault {
namespace {

constexpr std::array<std::pair<std::string_view, Action>, 7> actions{{
    {"kill", Action::kill},
    {"stop", Action::stop},
    {"delay", Action::delay},
    {"short-write", Action::short_write},
    {"ENOSPC", Action::no_space},
    {"EIO", Action::io_error},
    {"bitflip", Action::bitflip},
}};

struct Fault {
  std::string point;
  Action action = Action::none;
  int rank = -1;  // -1: any
  int passages_left = 1;
};

struct State {
  std::mutex mutex;
  std::atomic<bool> armed{false};
  std::vector<Fault> faults;
  int rank = 0;
};

[[noreturn]] void refuse(std::string const& one) {
  fail({.code = "base.fault.syntax",
        .subject = "LAMINA_FAULT",
        .found = one,
        .expected = "point:action:rank:count with action kill, stop, delay, short-write, ENOSPC, EIO or bitflip",
        .fix = "for example LAMINA_FAULT=checkpoint.fsync:kill:0:1, or unset the variable"});
}

int number(std::string const& s, std::string const& whole) {
  int x = 0;
  auto const [end, error] = std::from_chars(s.data(), s.data() + s.size(), x);
  if (error != std::errc{} || end != s.data() + s.size() || x < 0) refuse(whole);
  return x;
}

std::vector<Fault> parse(std::string const& faults) {
  std::vector<Fault> result;
  if (trim(faults).empty()) return result;
  for (auto const& one : split(faults, ',')) {
    auto const parts = split(one, ':');
    if (parts.size() != 4 || parts[0].empty()) refuse(one);
    Fault f{.point = parts[0], .action = Action::none, .rank = -1, .passages_left = number(parts[3], one)};
    for (auto const& [name, action] : actions) {
      if (name == parts[1]) f.action = action;
    }
    if (parts[2] != "*") f.rank = number(parts[2], one);
    if (f.action == Action::none || f.passages_left == 0) refuse(one);
    result.push_back(std::move(f));
  }
  return result;
}

int rank_from_environment() {
  for (char const* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID", "PMI_RANK"}) {
    if (char const* value = std::getenv(name); value != nullptr && *value != '\0') return std::atoi(value);
  }
  return 0;
}

void assign(State& s, std::vector<Fault> faults) {
  s.faults = std::move(faults);
  s.armed = !s.faults.empty();
}

State& state() {
  static State s;
  static bool const read = [] {
    char const* faults = std::getenv("LAMINA_FAULT");
    s.rank = rank_from_environment();
    assign(s, parse(faults == nullptr ? "" : faults));
    return true;
  }();
  static_cast<void>(read);
  return s;
}

Action passage(State& s, std::string_view site, std::string_view operation) {
  std::lock_guard const lock(s.mutex);
  auto const point = text(site, ".", operation);
  auto action = Action::none;
  for (auto& f : s.faults) {
    if (f.point != point || (f.rank >= 0 && f.rank != s.rank) || f.passages_left == 0) continue;
    if (--f.passages_left == 0) action = f.action;
  }
  return action;
}

}  // namespace

Action hit(std::string_view site, std::string_view operation) {
  auto& s = state();
  if (!s.armed.load(std::memory_order_relaxed)) return Action::none;
  auto const action = passage(s, site, operation);
  switch (action) {
    case Action::kill:
      std::raise(SIGKILL);
      break;
    case Action::stop:
      std::raise(SIGSTOP);
      break;
    case Action::delay:
      std::this_thread::sleep_for(std::chrono::seconds(2));
      break;
    default:
      return action;
  }
  return Action::none;
}

void configure(std::string const& faults) {
  auto& s = state();
  auto parsed = parse(faults);
  std::lock_guard const lock(s.mutex);
  assign(s, std::move(parsed));
}

void set_rank(int rank) {
  auto& s = state();
  std::lock_guard const lock(s.mutex);
  s.rank = rank;
}

}  // namespace lamina::fault
