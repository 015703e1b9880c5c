#include "lamina/data/paths.hpp"

#include <glob.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "data/detail/file.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data {
namespace {

namespace fs = std::filesystem;

bool exists(std::string const& path) {
  std::error_code unreadable;
  return fs::exists(path, unreadable);
}

/// `literal` as a pattern that matches itself alone.
std::string escaped(std::string_view literal) {
  std::string pattern;
  for (char const c : literal) {
    if (std::string_view("*?[]{},~\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

/// The inverse, for messages; what stood for several names stays as it is.
std::string without_escapes(std::string_view pattern) {
  std::string literal;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    literal += pattern[i];
  }
  return literal;
}

std::string home_of(std::string const& user) {
  if (user.empty()) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours changes the environment while run files are read
    if (auto const* home = std::getenv("HOME"); home != nullptr && *home != '\0') return home;
  }
  std::array<char, 16384> storage;
  passwd entry{}, *found = nullptr;
  auto const status = user.empty() ? ::getpwuid_r(::getuid(), &entry, storage.data(), storage.size(), &found)
                                   : ::getpwnam_r(user.c_str(), &entry, storage.data(), storage.size(), &found);
  return status == 0 && found != nullptr && found->pw_dir != nullptr ? found->pw_dir : "";
}

struct Split {
  std::string home, rest;  // home "": no tilde to replace
};

Split split_tilde(std::string const& path) {
  if (!path.starts_with('~') || exists(path)) return {.home = "", .rest = path};
  auto const end = std::min(path.find('/'), path.size());
  auto home = home_of(path.substr(1, end - 1));
  if (home.empty()) return {.home = "", .rest = path};
  while (home.size() > 1 && home.ends_with('/')) home.pop_back();
  return {.home = home, .rest = path.substr(end)};
}

}  // namespace

std::string without_tilde(std::string const& path) {
  auto const [home, rest] = split_tilde(path);
  return home + rest;
}

std::string absolute_path(std::string const& path) {
  return fs::absolute(without_tilde(path)).lexically_normal().string();
}

std::string absolute_pattern(std::string const& pattern) {
  if (auto const literal = without_tilde(pattern); exists(literal)) return absolute_path(literal);
  auto const [home, rest] = split_tilde(pattern);
  if (!home.empty()) return fs::path(escaped(home) + rest).lexically_normal().string();
  if (rest.starts_with('/')) return fs::path(rest).lexically_normal().string();
  return fs::path(escaped(fs::current_path().string()) + '/' + rest).lexically_normal().string();
}

namespace detail {

std::vector<std::string> expand(std::vector<std::string> const& patterns) {
  std::vector<std::string> paths;
  for (auto const& given : patterns) {
    // Also when its name, or a directory's, has brackets or stars.
    if (auto const literal = without_tilde(given); exists(literal)) {
      paths.push_back(literal);
      continue;
    }
    auto const [home, rest] = split_tilde(given);
    auto const pattern = escaped(home) + rest;
    ::glob_t found{};
    int const status = ::glob(pattern.c_str(), GLOB_BRACE, nullptr, &found);
    for (std::size_t i = 0; status == 0 && i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
    ::globfree(&found);
    if (status == 0) continue;
    auto const folder = fs::path(without_escapes(pattern)).parent_path();
    std::vector<std::string> names;
    std::error_code ignored;
    for (auto const& entry : fs::directory_iterator(folder.empty() ? "." : folder, ignored)) {
      names.push_back(entry.path().filename().string());
    }
    auto const near = closest(fs::path(pattern).filename().string(), names);
    fail({.code = "data.files.none",
          .subject = text("data files '", given, "'"),
          .found = text("no file matches in ", fs::absolute(folder.empty() ? "." : folder).lexically_normal().string()),
          .expected = "at least one file; paths are relative to the working directory",
          .fix = near.empty() ? "correct data.train or data.valid, or change to the right directory"
                              : text("did you mean '", (folder / near).string(), "'?")});
  }
  return paths;
}

}  // namespace detail
}  // namespace lamina::data
