#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <system_error>

#include "checkpoint/detail/directory.hpp"
#include "checkpoint/detail/read.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/checkpoint.hpp"

namespace lamina::checkpoint {
namespace {

using detail::Manifest;

/// Runs a check; an Error becomes one line of `problems`. True when there was none.
template <class Check>
bool passes(std::vector<std::string>& problems, Check const& check) {
  try {
    check();
    return true;
  } catch (Error const& e) {
    problems.push_back(detail::one_line(e.info()));
    return false;
  }
}

/// What HDF5 sees must be what the manifest says. Only for files whose bytes have been checked.
void compare_with_hdf5(std::string const& path, std::vector<io::Array> const& stated, std::vector<std::string>& out) {
  auto seen = io::describe_array_file(path);
  for (auto const& a : stated) {
    auto const it = std::find_if(seen.begin(), seen.end(), [&](auto const& s) { return s.path == a.path; });
    if (it == seen.end()) {
      out.push_back(text(path, ": ", a.path, ": HDF5 finds no such dataset"));
      continue;
    }
    if (it->spec != a.spec || (it->offset != a.offset && a.spec.count() > 0))
      out.push_back(text(path, ": ", a.path, ": HDF5 finds ", it->spec, " at byte ", it->offset, "; expected ", a.spec,
                         " at byte ", a.offset, ", as the manifest says"));
    seen.erase(it);
  }
  for (auto const& s : seen) out.push_back(text(path, ": ", s.path, ": a dataset that the manifest does not know"));
}

void verify_file(Manifest const& m, std::string const& directory, std::size_t f, std::vector<std::string>& problems) {
  auto const& entry = m.files[f];
  auto const path = text(directory, "/", entry.name);
  if (!passes(problems, [&] { detail::require_file_size(directory, entry); })) return;
  bool sound = true;
  for (std::size_t i = 0; i < m.tensors.size(); ++i) {
    if (m.tensors[i].file != static_cast<int>(f)) continue;
    sound &=
        passes(problems, [&] { detail::require_checksum(m, directory, i, detail::checksum_on_disk(m, directory, i)); });
  }
  auto const arrays = detail::arrays_of(m, static_cast<int>(f));
  sound &= passes(problems, [&] {
    auto const found = io::metadata_checksum(detail::open_file(directory, entry), arrays);
    if (found == entry.metadata) return;
    fail({.code = "checkpoint.load.metadata",
          .subject = text(path, ": HDF5's own bytes"),
          .found = text("checksum ", hex(found)),
          .expected = text("checksum ", hex(entry.metadata), ", as the manifest says"),
          .fix = "Lamina can still load it; other programs may not"});
  });
  if (sound) passes(problems, [&] { compare_with_hdf5(path, arrays, problems); });
}

/// Files in the directory that belong to nobody.
void find_strangers(Manifest const& m, std::string const& directory, std::vector<std::string>& problems) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    auto const name = it->path().filename().string();
    auto const known = name == detail::manifest_name ||
                       std::any_of(m.files.begin(), m.files.end(), [&](auto const& f) { return f.name == name; });
    if (!known) problems.push_back(text(directory, "/", name, ": a file that the manifest does not know"));
  }
}

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void compare(std::vector<float> const& a, std::vector<float> const& b, TensorDifference& d) {
  d.count = static_cast<std::int64_t>(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (same(a[i], b[i])) continue;
    ++d.differing;
    double const x = a[i], y = b[i], infinity = std::numeric_limits<double>::infinity();
    double const abs = std::isfinite(x) && std::isfinite(y) ? std::fabs(x - y) : infinity;
    double const rel = std::isfinite(abs) ? abs / std::max(std::fabs(x), std::fabs(y)) : infinity;
    d.max_abs = std::max(d.max_abs, abs);
    d.max_rel = std::max(d.max_rel, rel);
  }
}

}  // namespace

std::vector<Listing> list(std::string const& path) {
  std::vector<Listing> result;
  for (auto const& candidate : detail::find_candidates(path)) {
    try {
      auto const m = detail::read_complete(candidate);
      Listing listing{
          .directory = candidate.directory, .state = m.state, .bytes = detail::total_bytes(m), .tensors = {}};
      for (auto const& t : m.tensors)
        listing.tensors.push_back(
            {.name = t.name, .role = t.role, .spec = t.spec, .file = m.files[static_cast<std::size_t>(t.file)].name});
      result.push_back(std::move(listing));
    } catch (Error const&) {
      continue;  // not complete: `verify` says why
    }
  }
  return result;
}

std::vector<std::string> directories(std::string const& path) {
  std::vector<std::string> result;
  for (auto const& candidate : detail::find_candidates(path)) result.push_back(candidate.directory);
  return result;
}

std::vector<std::string> verify(std::string const& checkpoint_dir) {
  std::vector<std::string> problems;
  passes(problems, [&] {
    auto const m = detail::read_manifest(checkpoint_dir);
    for (auto const& c : detail::find_candidates(checkpoint_dir)) passes(problems, [&] { detail::require_step(c, m); });
    for (std::size_t f = 0; f < m.files.size(); ++f) verify_file(m, checkpoint_dir, f, problems);
    find_strangers(m, checkpoint_dir, problems);
  });
  return problems;
}

std::vector<TensorDifference> diff(std::string const& a_dir, std::string const& b_dir) {
  auto const a = detail::read_manifest(a_dir), b = detail::read_manifest(b_dir);
  std::vector<TensorDifference> result;
  for (auto const& t : a.tensors) {
    TensorDifference d{.name = t.name, .role = t.role, .note = {}, .count = t.spec.count()};
    auto const other = detail::find_tensor(b, t.name, t.role);
    if (other < 0) {
      d.note = "only in " + a_dir;
    } else if (auto const& u = b.tensors[static_cast<std::size_t>(other)]; u.spec.shape != t.spec.shape) {
      d.note = text(t.spec, " and ", u.spec);
    } else {
      compare(read_tensor(a_dir, t.name, t.role), read_tensor(b_dir, t.name, t.role), d);
    }
    result.push_back(std::move(d));
  }
  for (auto const& t : b.tensors) {
    if (detail::find_tensor(a, t.name, t.role) < 0)
      result.push_back({.name = t.name, .role = t.role, .note = "only in " + b_dir, .count = t.spec.count()});
  }
  return result;
}

double suggested_interval_s(double cost_s, double mean_time_between_failures_s) {
  return std::sqrt(2 * cost_s * mean_time_between_failures_s);
}

}  // namespace lamina::checkpoint
