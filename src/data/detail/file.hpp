#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lamina::data::detail {

/// A file opened for reading. Reads by position, never mapped: a file that shrinks under a running job is an error, not
/// a SIGBUS. Thread-safe.
class File {
 public:
  /// @throws Error "data.file.open" (missing, no permission, a directory).
  explicit File(std::string path);
  ~File();
  File(File const&) = delete;
  File& operator=(File const&) = delete;

  std::string const& path() const { return path_; }
  std::int64_t bytes() const { return bytes_; }  ///< when it was opened
  /// Reads exactly `count` bytes at `offset`. @throws Error "data.file.short", "data.file.read".
  void read(std::int64_t offset, void* to, std::int64_t count) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::int64_t bytes_ = 0;
};

/// Paths that match the patterns: patterns in the given order, matches of each in name order. A leading "~" is a home
/// directory; a name that exists as written is no pattern.
/// @throws Error "data.files.none" for a pattern without a match, with a near name if there is one.
std::vector<std::string> expand(std::vector<std::string> const& patterns);

}  // namespace lamina::data::detail
