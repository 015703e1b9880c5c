#pragma once

#include <cstdint>
#include <string>

/// Files and directories with every return code checked, every byte accounted for, and named fault points.
namespace lamina::io {

enum class Mode {
  read,    ///< must exist; a symbolic link as the last part of the path is refused
  update,  ///< must exist; read and write
  create,  ///< must not exist; read and write
};

/// An open file, addressed by byte offset (pread, pwrite): no position, so several threads may use it.
/// `site` is the prefix of its fault points: <site>.create, .read, .write, .fsync.
class File {
 public:
  static File open(std::string path, Mode mode, std::string site = "io");
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(File const&) = delete;
  File& operator=(File const&) = delete;

  std::string const& path() const { return path_; }
  /// Size at this moment.
  std::int64_t bytes() const;
  /// Reads exactly `bytes`. @throws Error "io.file.read", or "io.file.short" with the offset where the file ends.
  void read(void* into, std::int64_t bytes, std::int64_t offset) const;
  /// Writes all of `bytes`. @throws Error "io.file.write"; "io.file.no_space" with bytes needed and free.
  void write(void const* from, std::int64_t bytes, std::int64_t offset) const;
  /// Reserves disk space for the first `bytes` bytes and makes the file at least that long.
  /// @throws Error "io.file.no_space" with bytes needed and free.
  void preallocate(std::int64_t bytes) const;
  /// Data on the disk (fdatasync). @throws Error "io.file.sync".
  void sync() const;

 private:
  File(std::string path, std::string site, int descriptor);
  std::string path_, site_;
  int descriptor_ = -1;
};

/// Bytes that an unprivileged process may still write to the file system of `path`.
std::int64_t free_bytes(std::string const& path);

void make_directories(std::string const& path);
/// Makes entries of a directory durable (fsync). Fault point <site>.fsync.
void sync_directory(std::string const& path, std::string const& site = "io");
/// Fault point <site>.rename. Replaces a file, never a non-empty directory.
void rename(std::string const& from, std::string const& to, std::string const& site = "io");
/// Swaps two directories, in one step where the file system can; otherwise by two renames over `from` + ".swap".
void exchange(std::string const& from, std::string const& to, std::string const& site = "io");
/// Removes a file or a directory with all it holds; silent when there is nothing.
void remove_tree(std::string const& path);
/// Removes without throwing: for cleaning up after another error.
void remove_tree_quietly(std::string const& path) noexcept;

/// The whole file. @throws Error "io.file.too_long" before reading when it has more than `limit` bytes.
std::string read_text(std::string const& path, std::int64_t limit, std::string const& site = "io");
/// Temporary beside it + fsync + rename + fsync of the directory: readers see the old text or the new one, also after
/// a power cut. On failure the temporary is removed.
void write_text_atomically(std::string const& path, std::string const& content, std::string const& site = "io");

}  // namespace lamina::io
