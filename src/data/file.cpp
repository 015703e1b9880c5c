#include "data/detail/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data::detail {

File::File(std::string path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat s {};
  bool const regular = descriptor_ >= 0 && ::fstat(descriptor_, &s) == 0 && S_ISREG(s.st_mode);
  if (!regular) {
    auto const why = descriptor_ < 0 ? std::string(std::strerror(errno)) : std::string("not a regular file");
    if (descriptor_ >= 0) ::close(descriptor_);
    fail({.code = "data.file.open",
          .subject = text("data file '", path_, "'"),
          .found = why,
          .expected = "a readable file",
          .fix = "check the path and its permissions on this node"});
  }
  bytes_ = s.st_size;
}

File::~File() { ::close(descriptor_); }

void File::read(std::int64_t offset, void* to, std::int64_t count) const {
  auto* out = static_cast<char*>(to);
  for (std::int64_t done = 0; done < count;) {
    auto const n = ::pread(descriptor_, out + done, static_cast<std::size_t>(count - done), offset + done);
    if (n > 0) {
      done += n;
    } else if (n == 0) {
      fail({.code = "data.file.short",
            .subject = text("data file '", path_, "'"),
            .found = text("the file ends at offset ", offset + done, "; it had ", bytes_, " bytes when it was opened"),
            .expected = text(count, " bytes at offset ", offset),
            .fix = "something truncated the file: restore it, and do not write data files while a job reads them"});
    } else if (errno != EINTR) {
      fail({.code = "data.file.read",
            .subject = text("data file '", path_, "' at offset ", offset + done),
            .found = std::strerror(errno),
            .expected = "a successful read",
            .fix = "check the file system of this node"});
    }
  }
}

}  // namespace lamina::data::detail
