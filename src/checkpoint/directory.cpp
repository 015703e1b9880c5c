#include "checkpoint/detail/directory.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/io/file.hpp"

namespace lamina::checkpoint::detail {
namespace {

namespace fs = std::filesystem;

constexpr char prefix[] = "step-";

/// Names in a directory, sorted; none when it is not there. One that cannot be read is an error: taking it for empty
/// would start a run anew beside its checkpoints.
std::vector<std::string> names_in(std::string const& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory) {
    fail({.code = "checkpoint.load.directory",
          .subject = directory,
          .found = error.message(),
          .expected = "a directory that can be read",
          .fix = "check the path and its permissions"});
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string last_part(std::string const& path) {
  fs::path const p(path);
  return p.has_filename() ? p.filename().string() : p.parent_path().filename().string();
}

std::vector<Candidate> candidates_in(std::string const& directory) {
  std::vector<Candidate> found;
  for (auto const& name : names_in(directory)) {
    if (auto const step = find_step(name)) found.push_back({.directory = text(directory, "/", name), .step = *step});
  }
  return found;  // eight digits: the order of names is the order of steps
}

bool is_complete(Candidate const& candidate) {
  try {
    read_complete(candidate);
    return true;
  } catch (Error const&) {
    return false;
  }
}

}  // namespace

std::string checkpoints_of(std::string const& run_dir) { return run_dir + "/checkpoints"; }

std::string directory_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%08lld", prefix, static_cast<long long>(step));
  return name;
}

std::optional<std::int64_t> find_step(std::string const& name) {
  if (name.size() != 13 || !name.starts_with(prefix)) return std::nullopt;
  std::int64_t step = 0;
  for (char const c : name.substr(5)) {
    if (c < '0' || c > '9') return std::nullopt;
    step = 10 * step + (c - '0');
  }
  return step;
}

std::vector<Candidate> find_candidates(std::string const& path) {
  std::error_code ignored;
  auto const step = find_step(last_part(path));
  if (step || fs::exists(text(path, "/", manifest_name), ignored))
    return fs::is_directory(path, ignored) ? std::vector<Candidate>{{.directory = path, .step = step.value_or(-1)}}
                                           : std::vector<Candidate>{};
  auto const inside = fs::status(checkpoints_of(path), ignored).type();
  return candidates_in(inside == fs::file_type::not_found ? path : checkpoints_of(path));
}

void require_file_size(std::string const& directory, FileEntry const& file) {
  auto const path = text(directory, "/", file.name);
  auto const bytes = io::File::open(path, io::Mode::read, "checkpoint.load").bytes();
  if (bytes == file.bytes) return;
  fail({.code = "checkpoint.load.file_size",
        .subject = path,
        .found = text(bytes, " bytes"),
        .expected = text(file.bytes, " bytes, as the manifest says"),
        .fix = "the file was cut, extended or replaced; use another checkpoint"});
}

void require_step(Candidate const& candidate, Manifest const& manifest) {
  if (candidate.step < 0 || manifest.state.step == candidate.step) return;
  fail({.code = "checkpoint.load.step",
        .subject = candidate.directory,
        .found = text("a manifest of step ", manifest.state.step),
        .expected = text("step ", candidate.step, ", as the directory is called"),
        .fix = "give the directory its old name back"});
}

Manifest read_complete(Candidate const& candidate) {
  auto manifest = read_manifest(candidate.directory);
  require_step(candidate, manifest);
  for (auto const& file : manifest.files) require_file_size(candidate.directory, file);
  return manifest;
}

std::string one_line(ErrorInfo const& e) {
  auto line = text(e.subject, ": ", e.found, "; expected ", e.expected);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

void remove_leftovers(std::string const& checkpoints) {
  for (auto const& name : names_in(checkpoints)) {
    if (name.starts_with(".tmp-") || name.starts_with(".old-")) io::remove_tree(text(checkpoints, "/", name));
  }
}

void prune(std::string const& checkpoints, std::int64_t newest, Options const& options) {
  auto const keep = std::max<std::int64_t>(2, options.keep);
  std::int64_t kept = 0;
  auto all = candidates_in(checkpoints);
  std::reverse(all.begin(), all.end());
  for (auto const& c : all) {
    if (c.step > newest || !is_complete(c)) continue;
    if (kept < keep) {
      ++kept;
      continue;
    }
    if (options.keep_every > 0 && c.step % options.keep_every == 0) continue;
    auto const aside = text(checkpoints, "/.old-", directory_name(c.step), "-", ::getpid());
    io::rename(c.directory, aside, "checkpoint.prune");
    io::remove_tree(aside);
  }
}

}  // namespace lamina::checkpoint::detail
