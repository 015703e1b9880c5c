#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "lamina/base/error.hpp"

/// The run file as plain values with their places; the TOML library stays in document.cpp.
namespace lamina::config::detail {

struct Value {
  using Table = std::vector<std::pair<std::string, Value>>;  ///< in the order of names
  /// monostate: a date or a time, which no key takes.
  std::variant<std::monostate, std::int64_t, double, bool, std::string, std::vector<Value>, Table> of;
  std::string shown;               ///< as messages quote it
  std::optional<std::string> raw;  ///< of --set only: the text that follows '='
};

/// 1-based; --set comes after all lines.
struct Place {
  std::string where;  ///< "run.toml:12:9" or "--set model.layers=12"
  std::int64_t line = 0, column = 0;
};

struct Entry {
  std::string section, name;  ///< section "" for what stands above the first section
  Value value;
  Place place;
};

struct Document {
  std::string file;
  std::vector<Entry> entries;                           ///< overrides replace what they name
  std::vector<std::pair<std::string, Place>> sections;  ///< every [section], empty ones too
};

/// @throws Error "config.file.size", "config.file.nesting", "config.file.syntax" (with line and column),
/// "config.set.syntax".
Document read_document(std::string const& text, std::string const& file, std::vector<std::string> const& overrides);

/// A problem with its place, so that all of them can be told in the order of the file.
struct Problem {
  Place place;
  ErrorInfo info;
};
void add_problem(std::vector<Problem>& problems, Place const& place, ErrorInfo info);
/// Throws all of them as one Error; returns when there are none.
void require_none(std::vector<Problem> problems);

}  // namespace lamina::config::detail
