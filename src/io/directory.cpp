#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "io/detail/system_error.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/io/file.hpp"

namespace lamina::io {
namespace {

namespace fs = std::filesystem;

std::string parent_of(std::string const& path) {
  auto const parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

std::string advice(int error) {
  switch (error) {
    case ENOENT:
      return "check the path; it is relative to the working directory unless it begins with /";
    case EACCES:
    case EPERM:
    case EROFS:
      return "give this user the right to read and write there, or choose another directory";
    case ELOOP:
      return "replace the symbolic link by the file itself";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case EEXIST:
      return "remove what lies there, or choose another name";
    default:
      return "look at the file system and its log (dmesg, df, quota)";
  }
}

}  // namespace

namespace detail {

void fail_errno(std::string code, std::string const& path, std::string const& call, int error,
                std::source_location at) {
  fail({.code = std::move(code),
        .subject = path,
        .found = text(call, ": ", std::strerror(error)),
        .expected = "a call that succeeds",
        .fix = advice(error)},
       at);
}

void fail_write(std::string const& path, std::string const& call, std::int64_t bytes, int error,
                std::source_location at) {
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) fail_errno("io.file.write", path, call, error, at);
  fail_no_space(path, text(call, ": ", std::strerror(error)), bytes, at);
}

void fail_no_space(std::string const& path, std::string const& reason, std::int64_t bytes, std::source_location at) {
  fail({.code = "io.file.no_space",
        .subject = path,
        .found = text(reason, "; needs ", bytes, " bytes (", human_bytes(bytes), "), ", free_bytes(parent_of(path)),
                      " bytes free"),
        .expected = "room on the file system, in the quota and within the file size limit",
        .fix = "free some space, raise the limit (quota, ulimit -f), or use another file system"},
       at);
}

}  // namespace detail

std::int64_t free_bytes(std::string const& path) {
  struct statvfs s {};
  if (::statvfs(path.c_str(), &s) != 0) return 0;
  return static_cast<std::int64_t>(s.f_bavail) * static_cast<std::int64_t>(s.f_frsize);
}

void make_directories(std::string const& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) detail::fail_errno("io.directory.create", path, "mkdir", error.value());
}

void sync_directory(std::string const& path, std::string const& site) {
  if (int const error = detail::injected(fault::hit(site, "fsync")))
    detail::fail_errno("io.directory.sync", path, "fsync", error);
  int const descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) detail::fail_errno("io.directory.sync", path, "open", errno);
  int const error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  // Some network file systems have no fsync of directories: their server does it by itself.
  if (error != 0 && error != EINVAL) detail::fail_errno("io.directory.sync", path, "fsync", error);
}

void rename(std::string const& from, std::string const& to, std::string const& site) {
  if (int const error = detail::injected(fault::hit(site, "rename")))
    detail::fail_errno("io.file.rename", from, text("rename to ", to), error);
  if (::rename(from.c_str(), to.c_str()) != 0)
    detail::fail_errno("io.file.rename", from, text("rename to ", to), errno);
}

void exchange(std::string const& from, std::string const& to, std::string const& site) {
  if (int const error = detail::injected(fault::hit(site, "rename")))
    detail::fail_errno("io.file.rename", from, text("exchange with ", to), error);
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) detail::fail_errno("io.file.rename", from, text("exchange with ", to), errno);
  auto const aside = from + ".swap";
  rename(to, aside, site);
  rename(from, to, site);
  rename(aside, from, site);
}

void remove_tree(std::string const& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) detail::fail_errno("io.directory.remove", path, "remove", error.value());
}

void remove_tree_quietly(std::string const& path) noexcept {
  std::error_code error;
  fs::remove_all(path, error);
}

std::string read_text(std::string const& path, std::int64_t limit, std::string const& site) {
  auto const file = File::open(path, Mode::read, site);
  auto const bytes = file.bytes();
  if (bytes > limit) {
    fail({.code = "io.file.too_long",
          .subject = path,
          .found = text(bytes, " bytes"),
          .expected = text("at most ", limit, " bytes"),
          .fix = "this is not the file it should be; give another path"});
  }
  std::string content(static_cast<std::size_t>(bytes), '\0');
  file.read(content.data(), bytes, 0);
  return content;
}

void write_text_atomically(std::string const& path, std::string const& content, std::string const& site) {
  auto const temporary = text(path, ".tmp-", ::getpid());
  remove_tree(temporary);
  try {
    {
      auto const file = File::open(temporary, Mode::create, site);
      file.write(content.data(), static_cast<std::int64_t>(content.size()), 0);
      file.sync();
    }
    rename(temporary, path, site);
  } catch (...) {
    remove_tree_quietly(temporary);
    throw;
  }
  sync_directory(parent_of(path), site);
}

}  // namespace lamina::io
