#include "lamina/io/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "io/detail/system_error.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/fault.hpp"
#include "lamina/base/text.hpp"

namespace lamina::io {
namespace {

constexpr std::int64_t largest_call = std::int64_t{1} << 30;  // Linux moves at most 2 GiB - 4 KiB a call

int flags_of(Mode mode) {
  switch (mode) {
    case Mode::read:
      return O_RDONLY | O_NOFOLLOW;
    case Mode::update:
      return O_RDWR | O_NOFOLLOW;
    case Mode::create:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

/// pwrite that may be told to fail, to write less, or to damage what it writes.
ssize_t faulty_write(fault::Action action, int descriptor, void const* from, std::size_t bytes, off_t offset) {
  if (action == fault::Action::short_write)
    return ::pwrite(descriptor, from, std::max<std::size_t>(1, bytes / 2), offset);
  if (action == fault::Action::bitflip) {
    auto const* first = static_cast<unsigned char const*>(from);
    std::vector<unsigned char> damaged(first, first + bytes);
    damaged[bytes / 2] ^= 0x10u;
    return ::pwrite(descriptor, damaged.data(), bytes, offset);
  }
  return ::pwrite(descriptor, from, bytes, offset);
}

}  // namespace

File::File(std::string path, std::string site, int descriptor)
    : path_(std::move(path)), site_(std::move(site)), descriptor_(descriptor) {}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), site_(std::move(other.site_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(site_, other.site_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

File File::open(std::string path, Mode mode, std::string site) {
  if (mode == Mode::create) {
    if (int const error = detail::injected(fault::hit(site, "create")))
      detail::fail_errno("io.file.create", path, "create", error);
  }
  int const descriptor = ::open(path.c_str(), flags_of(mode) | O_CLOEXEC, 0666);
  if (descriptor < 0)
    detail::fail_errno(mode == Mode::create ? "io.file.create" : "io.file.open", path,
                       mode == Mode::create ? "create" : "open", errno);
  return File(std::move(path), std::move(site), descriptor);
}

std::int64_t File::bytes() const {
  struct stat s {};
  if (::fstat(descriptor_, &s) != 0) detail::fail_errno("io.file.open", path_, "stat", errno);
  if (!S_ISREG(s.st_mode)) {
    fail({.code = "io.file.kind",
          .subject = path_,
          .found = "not a regular file",
          .expected = "a regular file",
          .fix = "give the path of a file"});
  }
  return s.st_size;
}

void File::read(void* into, std::int64_t bytes, std::int64_t offset) const {
  if (int const error = detail::injected(fault::hit(site_, "read")))
    detail::fail_errno("io.file.read", path_, text("read at byte ", offset), error);
  auto* at = static_cast<char*>(into);
  for (std::int64_t done = 0; done < bytes;) {
    auto const part = static_cast<std::size_t>(std::min(bytes - done, largest_call));
    auto const got = ::pread(descriptor_, at + done, part, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) detail::fail_errno("io.file.read", path_, text("read at byte ", offset + done), errno);
    if (got == 0) {
      fail({.code = "io.file.short",
            .subject = path_,
            .found = text("the file ends at byte ", offset + done),
            .expected = text(bytes, " bytes from byte ", offset),
            .fix = "the file was cut; take another copy or an earlier checkpoint"});
    }
    done += got;
  }
}

void File::write(void const* from, std::int64_t bytes, std::int64_t offset) const {
  auto action = bytes > 0 ? fault::hit(site_, "write") : fault::Action::none;
  if (int const error = detail::injected(action))
    detail::fail_write(path_, text("write at byte ", offset), bytes, error);
  auto const* at = static_cast<char const*>(from);
  for (std::int64_t done = 0; done < bytes;) {
    auto const part = static_cast<std::size_t>(std::min(bytes - done, largest_call));
    auto const put =
        faulty_write(std::exchange(action, fault::Action::none), descriptor_, at + done, part, offset + done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) detail::fail_write(path_, text("write at byte ", offset + done), bytes - done, errno);
    if (put == 0) detail::fail_write(path_, text("write at byte ", offset + done), bytes - done, ENOSPC);
    done += put;
  }
}

void File::preallocate(std::int64_t bytes) const {
  if (bytes <= 0) return;
  int const injected = detail::injected(fault::hit(site_, "preallocate"));
  int const error = injected != 0 ? injected : ::posix_fallocate(descriptor_, 0, bytes);
  if (error != 0) detail::fail_write(path_, "reserve space", bytes, error);
}

void File::sync() const {
  if (int const error = detail::injected(fault::hit(site_, "fsync")))
    detail::fail_errno("io.file.sync", path_, "fdatasync", error);
  if (::fdatasync(descriptor_) != 0) detail::fail_errno("io.file.sync", path_, "fdatasync", errno);
}

}  // namespace lamina::io
