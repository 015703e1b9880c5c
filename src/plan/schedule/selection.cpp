#include "plan/detail/selection.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "lamina/base/text.hpp"

namespace lamina::plan {
namespace {

std::optional<long> number(std::string_view s) {
  long n = 0;
  auto const [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (error != std::errc{} || end != s.data() + s.size() || n < 0) return std::nullopt;
  return n;
}

bool matches(std::string_view pattern, std::string_view component) {
  if (pattern == "*" || pattern == component) return true;
  auto const dash = pattern.find('-');
  if (dash == pattern.npos) return false;
  auto const from = number(pattern.substr(0, dash)), to = number(pattern.substr(dash + 1)), n = number(component);
  return from && to && n && *from <= *n && *n <= *to;
}

/// What people may have meant: the paths and everything above them, "blocks.*" for all blocks.
std::vector<std::string> candidates(std::vector<std::string> const& paths) {
  std::vector<std::string> all;
  for (auto const& path : paths) {
    for (auto dot = path.find('.'); dot != path.npos; dot = path.find('.', dot + 1)) {
      all.push_back(path.substr(0, dot)), all.push_back(path.substr(0, dot) + ".*");
    }
    all.push_back(path);
  }
  return all;
}

std::string expected_of(std::vector<std::string> const& paths) {
  if (paths.size() <= 8) return text("one of the layers ", join(paths), ", or \"*\" for all of them");
  bool const blocks = std::any_of(paths.begin(), paths.end(), [](auto const& p) { return p.starts_with("blocks."); });
  return text("one of the layers ", paths.front(), " to ", paths.back(),
              blocks ? ", or blocks.0-5, blocks.*" : ", or \"*\" for all of them");
}

}  // namespace

bool selects(std::string_view selector, std::string_view path) {
  auto const wanted = split(selector, '.'), given = split(path, '.');
  if (selector.empty() || wanted.size() > given.size()) return false;
  return std::equal(wanted.begin(), wanted.end(), given.begin(), matches);
}

std::vector<int> select(std::vector<std::string> const& selectors, std::vector<std::string> const& paths,
                        std::string_view key, std::vector<ErrorInfo>& problems) {
  for (auto const& s : selectors) {
    if (std::any_of(paths.begin(), paths.end(), [&](auto const& p) { return selects(s, p); })) continue;
    auto const guess = closest(s, candidates(paths));
    problems.push_back(
        {.code = "plan.layers.unknown",
         .subject = text(key, ": \"", s, "\" selects no layer"),
         .found = text('"', s, '"'),
         .expected = expected_of(paths),
         .fix = guess.empty() ? "`lamina plan --print plan` lists the layers" : text("did you mean \"", guess, "\"?")});
  }
  std::vector<int> found;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    bool const is_selected =
        std::any_of(selectors.begin(), selectors.end(), [&](auto const& s) { return selects(s, paths[i]); });
    if (is_selected) found.push_back(static_cast<int>(i));
  }
  return found;
}

std::string block_of(std::string_view path) {
  std::string block;
  for (auto const& component : split(path, '.')) {
    block += (block.empty() ? "" : ".") + component;
    if (number(component)) break;
  }
  return block;
}

bool is_block(std::string_view path) {
  auto const components = split(path, '.');
  return std::any_of(components.begin(), components.end(), [](auto const& c) { return number(c).has_value(); });
}

}  // namespace lamina::plan
