#include <algorithm>

#include "detail/sweep.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::apps {
namespace {

[[noreturn]] void refuse(std::string const& argument, std::string found) {
  fail({.code = "app.sweep.over",
        .subject = text("--over ", argument),
        .found = std::move(found),
        .expected =
            "a key and its values, section.key=a|b, or a section and several keys at once, mesh=\"dp=2|tp=2,pp=2\"",
        .fix = "read lamina sweep --help, which ends with an example"});
}

std::vector<std::string> split_outside(std::string_view s, char separator) {
  std::vector<std::string> pieces(1);
  int depth = 0;
  char quote = 0;
  for (char const c : s) {
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == separator && depth == 0) {
      pieces.emplace_back();
      continue;
    }
    pieces.back() += c;
  }
  for (auto& p : pieces) p = std::string(trim(p));
  return pieces;
}

}  // namespace

Over parse_over(std::string const& argument) {
  auto const equals = argument.find('=');
  Over over{.key = std::string(trim(std::string_view(argument).substr(0, equals))), .values = {}};
  if (equals == argument.npos || over.key.empty()) refuse(argument, "no key and '='");
  over.values = split_outside(std::string_view(argument).substr(equals + 1), '|');
  for (auto const& value : over.values) {
    if (value.empty()) refuse(argument, "a value that is empty");
    overrides_of(over, value);
  }
  return over;
}

std::vector<std::string> overrides_of(Over const& over, std::string const& value) {
  if (over.key.find('.') != over.key.npos) return {text(over.key, "=", value)};
  std::vector<std::string> all;
  for (auto const& setting : split_outside(value, ',')) {
    auto const equals = setting.find('=');
    if (equals == setting.npos || equals == 0)
      refuse(text(over.key, "=", value), text("'", setting, "', which is no key=value of section ", over.key));
    all.push_back(text(over.key, ".", setting));
  }
  return all;
}

std::vector<std::vector<std::string>> combinations(std::vector<Over> const& overs) {
  std::vector<std::vector<std::string>> rows(1);
  for (auto const& over : overs) {
    std::vector<std::vector<std::string>> longer;
    for (auto const& row : rows) {
      for (auto const& value : over.values) {
        longer.push_back(row);
        longer.back().push_back(value);
      }
    }
    rows = std::move(longer);
  }
  return rows;
}

}  // namespace lamina::apps
