#include "lamina/base/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <span>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr std::array<Unit, 11> byte_units{{{"B", 1},
                                           {"KiB", 0x1p10},
                                           {"MiB", 0x1p20},
                                           {"GiB", 0x1p30},
                                           {"TiB", 0x1p40},
                                           {"PiB", 0x1p50},
                                           {"kB", 1e3},
                                           {"MB", 1e6},
                                           {"GB", 1e9},
                                           {"TB", 1e12},
                                           {"PB", 1e15}}};
constexpr std::array<Unit, 7> time_units{
    {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}}};

std::string lower(std::string_view s) {
  std::string r(s);
  std::ranges::transform(r, r.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return r;
}

// Words that are often written instead; the edit distance alone would not find them.
std::string nearest_unit(std::string_view word, std::span<Unit const> units) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 17> spoken{{{"sec", "s"},
                                                                                  {"secs", "s"},
                                                                                  {"second", "s"},
                                                                                  {"seconds", "s"},
                                                                                  {"m", "min"},
                                                                                  {"mins", "min"},
                                                                                  {"hr", "h"},
                                                                                  {"hour", "h"},
                                                                                  {"hours", "h"},
                                                                                  {"day", "d"},
                                                                                  {"days", "d"},
                                                                                  {"k", "KiB"},
                                                                                  {"g", "GiB"},
                                                                                  {"t", "TiB"},
                                                                                  {"bytes", "B"},
                                                                                  {"msec", "ms"},
                                                                                  {"usec", "us"}}};
  auto const small = lower(word);
  auto const known = [&](std::string_view name) {
    return std::ranges::any_of(units, [&](Unit const& u) { return u.name == name; });
  };
  if (small == "m" && known("MiB")) return "MiB";
  for (auto const& [from, to] : spoken) {
    if (from == small && known(to)) return std::string(to);
  }
  for (auto const& u : units) {
    if (lower(u.name) == small) return std::string(u.name);
  }
  std::vector<std::string> names;
  for (auto const& u : units) names.emplace_back(u.name);
  return closest(word, names);
}

std::string names_of(std::span<Unit const> units) {
  std::vector<std::string_view> names;
  for (auto const& u : units) names.push_back(u.name);
  return join(names);
}

double parse_quantity(std::string_view s, std::string_view what, std::span<Unit const> units, std::string_view example,
                      double limit) {
  auto const body = trim(s);
  double number = 0;
  auto const [end, problem] = std::from_chars(body.data(), body.data() + body.size(), number);
  auto const unit = trim(std::string_view(end, static_cast<std::size_t>(body.data() + body.size() - end)));
  auto const fix = [&](std::string_view advice) { return text(advice, ", for example \"", example, "\""); };
  if (problem != std::errc{} || !std::isfinite(number)) {
    fail({.code = problem == std::errc::result_out_of_range ? "base.units.range" : "base.units.number",
          .subject = text("a quantity of ", what),
          .found = text('"', s.substr(0, 60), '"'),
          .expected = text("a number and one of ", names_of(units)),
          .fix = fix("write a number and a unit")});
  }
  if (unit.empty()) {
    fail({.code = "base.units.missing",
          .subject = text("a quantity of ", what),
          .found = text('"', body.substr(0, 60), "\", without a unit"),
          .expected = text("a number and one of ", names_of(units)),
          .fix = fix("add the unit")});
  }
  auto const at = std::ranges::find(units, unit, &Unit::name);
  if (at == units.end()) {
    auto const guess = nearest_unit(unit, units);
    fail({.code = "base.units.unknown",
          .subject = text("a quantity of ", what),
          .found = text("unit '", unit.substr(0, 40), "'"),
          .expected = text("one of ", names_of(units)),
          .fix = guess.empty() ? fix("take one of these") : text("did you mean '", guess, "'?")});
  }
  double const value = number * at->factor;
  if (!(value >= 0) || !(value < limit)) {
    fail({.code = "base.units.range",
          .subject = text("a quantity of ", what),
          .found = text('"', body.substr(0, 60), '"'),
          .expected = "a quantity from 0 to what a machine can have",
          .fix = fix("correct the number or its unit")});
  }
  return value;
}

std::string digits(double x, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, x);
  return buffer;
}

// Three significant digits; `x` below 1024.
std::string three(double x) { return digits(x, x < 9.995 ? 2 : x < 99.95 ? 1 : 0); }

}  // namespace

std::int64_t parse_bytes(std::string_view s) {
  return static_cast<std::int64_t>(std::floor(parse_quantity(s, "memory", byte_units, "64 MiB", 0x1p62) + 0.5));
}

double parse_seconds(std::string_view s) { return parse_quantity(s, "time", time_units, "30 s", 3.2e11); }

std::string exact_bytes(std::int64_t bytes) {
  constexpr std::array<std::string_view, 6> names{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  // Above 2^53 only the powers of two survive the way through a double.
  std::size_t u = 0;
  while (u + 1 < names.size() && bytes != 0 && bytes % 1024 == 0) bytes /= 1024, ++u;
  return text(bytes, ' ', names[u]);
}

std::string exact_seconds(double seconds) {
  auto const write = [](double x, std::string_view unit) {
    auto s = exact(x);
    if (s.ends_with(".0")) s.resize(s.size() - 2);
    return text(s, ' ', unit);
  };
  if (seconds != 0 && seconds < 1e15 && seconds == std::floor(seconds)) {
    auto const whole = static_cast<std::int64_t>(seconds);
    if (whole % 86400 == 0) return write(seconds / 86400, "d");
    if (whole % 3600 == 0) return write(seconds / 3600, "h");
    if (whole % 60 == 0) return write(seconds / 60, "min");
  }
  return write(seconds, "s");
}

std::string human_bytes(std::int64_t bytes) {
  if (bytes < 0) return text('-', human_bytes(bytes == INT64_MIN ? INT64_MAX : -bytes));
  if (bytes < 1024) return text(bytes, " B");
  double x = static_cast<double>(bytes);
  std::string_view unit;
  for (std::string_view name : {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}) {
    x /= 1024, unit = name;
    if (x < 1023.5) break;
  }
  return text(three(x), ' ', unit);
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return exact(seconds);
  if (seconds < 0) return text('-', human_seconds(-seconds));
  if (seconds == 0) return "0 s";
  if (seconds < 999.5e-9) return text(three(seconds * 1e9), " ns");
  if (seconds < 999.5e-6) return text(three(seconds * 1e6), " us");
  if (seconds < 999.5e-3) return text(three(seconds * 1e3), " ms");
  if (seconds < 59.95) return text(three(seconds), " s");
  if (seconds > 1e15) return text(exact(seconds), " s");
  auto const s = static_cast<std::int64_t>(std::llround(seconds));
  if (s < 3600) return text(s / 60, " min ", s % 60 < 10 ? "0" : "", s % 60, " s");
  if (s < 86400) return text(s / 3600, " h ", s % 3600 / 60 < 10 ? "0" : "", s % 3600 / 60, " min");
  return text(s / 86400, " d ", s % 86400 / 3600, " h");
}

std::string human_count(double count) {
  if (!std::isfinite(count)) return exact(count);
  if (count < 0) return text('-', human_count(-count));
  if (count < 999.5) return count == std::floor(count) ? digits(count, 0) : three(count);
  std::string_view unit;
  for (std::string_view name : {"k", "M", "G", "T", "P", "E"}) {
    count /= 1000, unit = name;
    if (count < 999.5) break;
  }
  return text(three(count), ' ', unit);
}

}  // namespace lamina
