#include "config/detail/document.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "config/detail/keys.hpp"
#include "lamina/base/text.hpp"

namespace lamina::config::detail {
namespace {

constexpr std::size_t most_bytes = 1 << 20, most_dots = 64;
constexpr std::int64_t after_all_lines = std::numeric_limits<std::int64_t>::max();

// The library builds one nested table per dot, and frees them by recursion: a line of a million dots would exhaust the
// stack. So dots outside strings and comments are counted before it sees the text.
class DotCounter {
 public:
  void check(std::string const& text, std::string const& file) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      char const c = text[i];
      if (quote_.empty()) {
        outside(text, i);
      } else if (text.compare(i, quote_.size(), quote_) == 0) {
        i += quote_.size() - 1;
        quote_ = {};
      } else if (c == '\\' && quote_[0] == '"') {
        ++i;
        if (i < text.size() && text[i] == '\n') ++line_;
      } else if (c == '\n' && quote_.size() == 1) {
        quote_ = {};  // an unterminated string: the library will say so
      }
      if (c == '\n') ++line_;
      if (dots_ > most_dots) {
        fail({.code = "config.file.nesting",
              .subject = text_of(file),
              .found = lamina::text("a key with more than ", most_dots, " dots"),
              .expected = "section.key",
              .fix = "shorten the key"});
      }
    }
  }

 private:
  void outside(std::string const& text, std::size_t& i) {
    char const c = text[i];
    if (c == '#') {
      while (i + 1 < text.size() && text[i + 1] != '\n') ++i;
    } else if (c == '"' || c == '\'') {
      bool const three = i + 2 < text.size() && text[i + 1] == c && text[i + 2] == c;
      quote_ = std::string(three ? 3 : 1, c);
      if (three) i += 2;
    } else if (c == '.') {
      ++dots_;
    } else if (std::string_view(",[]{}=\n").find(c) != std::string_view::npos) {
      dots_ = 0;
    }
  }
  std::string text_of(std::string const& file) const { return text(file, ":", line_, ":1"); }

  std::string quote_;
  std::size_t dots_ = 0;
  std::int64_t line_ = 1;
};

std::string shortened(std::string s) {
  constexpr std::size_t most = 60;
  if (s.size() <= most) return s;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xC0) == 0x80) --end;  // a character stays whole
  return s.substr(0, end) + "...";
}

Value value_of(toml::node const& node) {
  Value v;
  switch (node.type()) {
    case toml::node_type::integer:
      v.of = node.as_integer()->get();
      v.shown = text(node.as_integer()->get());
      break;
    case toml::node_type::floating_point:
      v.of = node.as_floating_point()->get();
      v.shown = exact(node.as_floating_point()->get());
      break;
    case toml::node_type::boolean:
      v.of = node.as_boolean()->get();
      v.shown = node.as_boolean()->get() ? "true" : "false";
      break;
    case toml::node_type::string:
      v.of = node.as_string()->get();
      v.shown = quoted(shortened(node.as_string()->get()));
      break;
    case toml::node_type::array: {
      std::vector<Value> items;
      std::vector<std::string> shown;
      for (auto const& item : *node.as_array()) {
        items.push_back(value_of(item));
        if (shown.size() < 8) shown.push_back(items.back().shown);
      }
      if (items.size() > shown.size()) shown.emplace_back("...");
      v.shown = shortened(text('[', join(shown), ']'));
      v.of = std::move(items);
      break;
    }
    case toml::node_type::table: {
      Value::Table members;
      std::vector<std::string> shown;
      for (auto const& [name, member] : *node.as_table()) {
        members.emplace_back(std::string(name.str()), value_of(member));
        shown.push_back(text(name.str(), " = ", members.back().second.shown));
      }
      v.shown = shown.empty() ? "a table {}" : shortened(text("{ ", join(shown), " }"));
      v.of = std::move(members);
      break;
    }
    default:
      v.shown = "a date or time";
      break;
  }
  return v;
}

toml::table parse_toml(std::string const& text, std::string const& file) {
  try {
    return toml::parse(text, file);
  } catch (toml::parse_error const& e) {
    auto const at = e.source().begin;
    fail({.code = "config.file.syntax",
          .subject = lamina::text(file, ":", at.line, ":", at.column, ": not a TOML file"),
          .found = shortened(std::string(e.description())),
          .expected = "lines of the form [section] and key = value, in UTF-8 (https://toml.io)",
          .fix = "correct this place; text needs quotes, every key may occur once"});
  }
}

// What follows '=': a TOML value if it reads as exactly one, otherwise the bare text.
Value override_value(std::string const& argument, std::string const& raw) {
  Value v;
  try {
    auto const table = toml::parse("v = " + raw);
    if (table.size() == 1 && table.contains("v")) v = value_of(*table.get("v"));
  } catch (toml::parse_error const&) {
    v.shown.clear();
  }
  if (v.shown.empty()) {
    try {
      v = value_of(*toml::parse("v = " + quoted(raw)).get("v"));
    } catch (toml::parse_error const&) {
      fail({.code = "config.set.syntax",
            .subject = text("--set ", shortened(argument)),
            .found = "a value that is not UTF-8 text",
            .expected = "section.key=value",
            .fix = "correct the value"});
    }
  }
  auto const* const as_text = std::get_if<std::string>(&v.of);
  v.raw = as_text ? *as_text : raw;
  return v;
}

void apply_override(Document& document, std::string const& argument) {
  auto const equals = argument.find('=');
  auto const path = std::string(trim(std::string_view(argument).substr(0, equals)));
  auto const dot = path.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot == 0 || dot + 1 == path.size()) {
    fail({.code = "config.set.syntax",
          .subject = text("--set ", shortened(argument)),
          .found = text('\'', shortened(argument), '\''),
          .expected = "section.key=value",
          .fix = "for example --set optimizer.lr=1e-3"});
  }
  DotCounter().check(argument, "--set");
  Entry entry{.section = path.substr(0, dot),
              .name = path.substr(dot + 1),
              .value = override_value(argument, std::string(trim(std::string_view(argument).substr(equals + 1)))),
              .place = {.where = text("--set ", shortened(argument)), .line = after_all_lines, .column = 0}};
  std::erase_if(document.entries, [&](Entry const& e) { return e.section == entry.section && e.name == entry.name; });
  document.entries.push_back(std::move(entry));
}

}  // namespace

Document read_document(std::string const& text, std::string const& file, std::vector<std::string> const& overrides) {
  if (text.size() > most_bytes) {
    fail({.code = "config.file.size",
          .subject = file,
          .found = lamina::text(text.size(), " bytes"),
          .expected = lamina::text("a run file of at most ", most_bytes, " bytes"),
          .fix = "check the name: this looks like data"});
  }
  DotCounter().check(text, file);
  auto const root = parse_toml(text, file);
  auto const place = [&](toml::source_region const& source) {
    return Place{.where = lamina::text(file, ":", source.begin.line, ":", source.begin.column),
                 .line = source.begin.line,
                 .column = source.begin.column};
  };
  Document document{.file = file, .entries = {}, .sections = {}};
  for (auto const& [section, node] : root) {
    auto const* table = node.as_table();
    if (!table) {
      document.entries.push_back({.section = "",
                                  .name = std::string(section.str()),
                                  .value = value_of(node),
                                  .place = place(section.source())});
      continue;
    }
    document.sections.emplace_back(section.str(), place(section.source()));
    for (auto const& [name, value] : *table) {
      document.entries.push_back({.section = std::string(section.str()),
                                  .name = std::string(name.str()),
                                  .value = value_of(value),
                                  .place = place(name.source())});
    }
  }
  for (auto const& argument : overrides) apply_override(document, argument);
  return document;
}

void add_problem(std::vector<Problem>& problems, Place const& place, ErrorInfo info) {
  if (!place.where.empty()) info.subject = text(place.where, ": ", info.subject);
  problems.push_back({place, std::move(info)});
}

void require_none(std::vector<Problem> problems) {
  std::ranges::stable_sort(problems, {}, [](Problem const& p) { return std::tuple(p.place.line, p.place.column); });
  std::vector<ErrorInfo> infos;
  for (auto& p : problems) infos.push_back(std::move(p.info));
  fail_if_any(infos);
}

}  // namespace lamina::config::detail
