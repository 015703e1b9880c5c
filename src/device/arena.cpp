#include "lamina/device/arena.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::device {
namespace {

constexpr std::int64_t huge_page = std::int64_t{2} << 20;

/// What does not fill a huge page shall not take one.
std::int64_t rounded(std::int64_t bytes) {
  return bytes < huge_page ? bytes : (bytes + huge_page - 1) / huge_page * huge_page;
}

}  // namespace

Arena::Arena(std::int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  // One huge page more than needed, so that the block can start on a huge page; the rest is given back.
  auto const length = rounded(bytes), spare = bytes < huge_page ? 0 : huge_page;
  void* const got = bytes < 0 ? MAP_FAILED
                              : mmap(nullptr, static_cast<std::size_t>(length + spare), PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED) {
    fail({.code = "device.memory.arena",
          .subject = "memory for the buffers of a space",
          .found = text(bytes, " bytes refused: ", bytes < 0 ? "negative size" : std::strerror(errno)),
          .expected = "the system grants the planned bytes",
          .fix = "see `lamina plan --print memory`; lower batch.micro, or raise the limit (ulimit -v, cgroup)"});
  }
  auto* const block = static_cast<char*>(got);
  if (spare == 0) {
    data_ = block;
    return;
  }
  auto const head = (huge_page - reinterpret_cast<std::intptr_t>(got) % huge_page) % huge_page;
  if (head > 0) munmap(block, static_cast<std::size_t>(head));
  data_ = block + head;
  munmap(block + head + length, static_cast<std::size_t>(huge_page - head));
  madvise(data_, static_cast<std::size_t>(length), MADV_HUGEPAGE);  // advice: kernels without huge pages refuse it
}

Arena::~Arena() {
  if (data_) munmap(data_, static_cast<std::size_t>(rounded(bytes_)));
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace lamina::device
