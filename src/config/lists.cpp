#include "config/detail/lists.hpp"

#include <algorithm>
#include <array>

#include "config/detail/keys.hpp"
#include "lamina/base/text.hpp"

namespace lamina::config::detail {
namespace {

using List = std::vector<Value>;
constexpr std::array<std::string_view, 3> split_dims{"out", "in", "none"};
constexpr std::int64_t most_coordinates = 1 << 20, most_blocks = 10000;

ErrorInfo problem(std::string const& where, std::string_view rule, Value const& value, std::string expected,
                  std::string fix = "correct the value") {
  return {.code = text("config.", where.substr(0, where.find('.')), '.', rule),
          .subject = where,
          .found = value.shown,
          .expected = std::move(expected),
          .fix = std::move(fix)};
}

std::string const* as_text(Value const& value) { return value.raw ? &*value.raw : std::get_if<std::string>(&value.of); }

std::string in_list(std::string const& where, std::size_t i) { return text(where, '[', i, ']'); }

/// The members of one table; `known` are its keys.
template <class Take>
std::optional<ErrorInfo> read_table(Value const& value, std::string const& where, std::vector<std::string> const& known,
                                    std::string_view form, Take const& take) {
  auto const* members = std::get_if<Value::Table>(&value.of);
  if (members == nullptr) return problem(where, "type", value, std::string(form));
  std::vector<std::string> given;
  for (auto const& [name, member] : *members) {
    if (std::ranges::find(known, name) == known.end()) {
      auto const guess = closest(name, known);
      return problem(text(where, '.', name), "key", member, text("one of ", join(known)),
                     guess.empty() ? "remove it" : text("did you mean ", guess, '?'));
    }
    if (auto p = take(name, member)) return p;
    given.push_back(name);
  }
  for (auto const& name : known) {
    if (std::ranges::find(given, name) != given.end()) continue;
    return problem(where, "required", value, text("a table with ", join(known, " and ")), text("add ", name));
  }
  return std::nullopt;
}

std::optional<ErrorInfo> read_stage(Value const& value, std::string const& where, StageLayers& to) {
  return read_table(value, where, {"layers", "at"}, stages_form, [&](std::string const& name, Value const& member) {
    auto const here = text(where, '.', name);
    if (name == "layers") return read_names(member, here, to.layers);
    auto const* at = std::get_if<std::int64_t>(&member.of);
    if (at == nullptr || *at < 0 || *at >= most_coordinates) {
      return std::optional(problem(here, "range", member, "a pp coordinate, from 0"));
    }
    to.at = *at;
    return std::optional<ErrorInfo>();
  });
}

std::optional<ErrorInfo> read_split(Value const& value, std::string const& where, LayerSplit& to) {
  return read_table(value, where, {"layers", "dim"}, splits_form, [&](std::string const& name, Value const& member) {
    auto const here = text(where, '.', name);
    if (name == "layers") return read_names(member, here, to.layers);
    auto const* dim = std::get_if<std::string>(&member.of);
    if (dim == nullptr || std::ranges::find(split_dims, *dim) == split_dims.end()) {
      return std::optional(problem(here, "choice", member,
                                   "one of \"out\" (column), \"in\" (row), \"none\" (every rank has all of it)"));
    }
    to.dim = *dim;
    return std::optional<ErrorInfo>();
  });
}

}  // namespace

std::optional<ErrorInfo> read_names(Value const& value, std::string const& where, std::vector<std::string>& to) {
  std::vector<std::string> names;
  auto const* items = std::get_if<List>(&value.of);
  if (items == nullptr) {
    auto const* one = as_text(value);
    if (one == nullptr) return problem(where, "type", value, std::string(names_form));
    names.push_back(*one);
  } else {
    for (auto const& item : *items) {
      auto const* s = std::get_if<std::string>(&item.of);
      if (s == nullptr) return problem(where, "type", value, std::string(names_form));
      names.push_back(*s);
    }
  }
  bool const one_is_empty = std::ranges::find(names, "") != names.end();
  if (names.empty() || one_is_empty) return problem(where, "empty", value, std::string(names_form));
  to = std::move(names);
  return std::nullopt;
}

std::vector<ErrorInfo> read_stages(Value const& value, std::string const& where, Stages& to) {
  auto const* items = std::get_if<List>(&value.of);
  if (items == nullptr) {
    auto const* word = as_text(value);
    if (word == nullptr || *word != "auto") return {problem(where, "type", value, std::string(stages_form))};
    to = {};
    return {};
  }
  if (items->empty()) return {problem(where, "empty", value, std::string(stages_form))};
  Stages read;
  std::vector<ErrorInfo> problems;
  for (std::size_t i = 0; i < items->size(); ++i) {
    auto const& item = (*items)[i];
    auto const* count = std::get_if<std::int64_t>(&item.of);
    if (count != nullptr) {
      if (*count < 0 || *count > most_blocks) return {problem(where, "range", value, std::string(stages_form))};
      read.blocks.push_back(*count);
    } else if (auto p = read_stage(item, in_list(where, i), read.lists.emplace_back())) {
      problems.push_back(std::move(*p));
    }
  }
  if (!problems.empty()) return problems;
  if (!read.blocks.empty() && !read.lists.empty()) {
    return {problem(where, "type", value, std::string(stages_form), "give counts or lists of layers, not both")};
  }
  to = std::move(read);
  return {};
}

std::vector<ErrorInfo> read_splits(Value const& value, std::string const& where, std::vector<LayerSplit>& to) {
  auto const* items = std::get_if<List>(&value.of);
  if (items == nullptr) return {problem(where, "type", value, std::string(splits_form))};
  std::vector<LayerSplit> read(items->size());
  std::vector<ErrorInfo> problems;
  for (std::size_t i = 0; i < read.size(); ++i) {
    if (auto p = read_split((*items)[i], in_list(where, i), read[i])) problems.push_back(std::move(*p));
  }
  if (problems.empty()) to = std::move(read);
  return problems;
}

std::string names_text(std::vector<std::string> const& names) {
  if (names.size() == 1) return quoted(names[0]);
  std::vector<std::string> words;
  for (auto const& n : names) words.push_back(quoted(n));
  return text('[', join(words), ']');
}

std::string stages_text(Stages const& stages) {
  if (stages.automatic()) return "\"auto\"";
  if (!stages.blocks.empty()) return text('[', join(stages.blocks), ']');
  std::vector<std::string> words;
  for (auto const& s : stages.lists) words.push_back(text("{ layers = ", names_text(s.layers), ", at = ", s.at, " }"));
  return text('[', join(words), ']');
}

std::string splits_text(std::vector<LayerSplit> const& splits) {
  std::vector<std::string> words;
  for (auto const& s : splits)
    words.push_back(text("{ layers = ", names_text(s.layers), ", dim = ", quoted(s.dim), " }"));
  return text('[', join(words), ']');
}

}  // namespace lamina::config::detail
