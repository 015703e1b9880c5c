#include "lamina/device/arena.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/device/huge_pages.hpp"

namespace lamina::device {
namespace {

/// What does not fill a huge page shall not take one.
std::int64_t rounded(std::int64_t bytes) {
  return bytes < huge_page ? bytes : (bytes + huge_page - 1) / huge_page * huge_page;
}

#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;  // Linux 6.1; older headers
#endif
#ifndef MADV_POPULATE_WRITE
constexpr int MADV_POPULATE_WRITE = 23;  // Linux 5.14
#endif

/// One huge page of a file in memory. Its first small page is made, so that there is something to collapse: by a call,
/// which can refuse; a store would end the process where the system grants no memory (a cgroup's limit may end it
/// either way).
bool make_huge(char* page) {
  constexpr std::size_t small_page = 4096;
  if (madvise(page, small_page, MADV_POPULATE_WRITE) != 0) return false;
  for (int tries = 0; tries < 10; ++tries) {
    if (madvise(page, huge_page, MADV_COLLAPSE) == 0) return true;
    if (errno != EAGAIN && errno != EBUSY) return false;
  }
  return false;
}

/// The shared arenas of this process.
struct SharedBlocks {
  std::mutex mutex;
  std::vector<SharedBlock> list;
};

SharedBlocks& shared_blocks() {
  static SharedBlocks blocks;
  return blocks;
}

}  // namespace

Arena::Arena(std::int64_t bytes, Sharing sharing) : bytes_(bytes) {
  if (bytes == 0 || (sharing == Sharing::neighbours && map_shared())) return;
  bool const huge = bytes >= huge_page;
  auto const size = static_cast<std::size_t>(rounded(bytes));
  char* const room = huge ? reserve_huge_pages(rounded(bytes)) : nullptr;
  void* const got = bytes < 0 || (huge && !room)
                        ? MAP_FAILED
                        : mmap(room, size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (huge ? MAP_FIXED : 0), -1, 0);
  if (got == MAP_FAILED) {
    auto const* const reason = bytes < 0 ? "negative size" : std::strerror(errno);
    if (room) munmap(room, size);
    fail({.code = "device.memory.arena",
          .subject = "memory for the buffers of a space",
          .found = text(bytes, " bytes refused: ", reason),
          .expected = "the system grants the planned bytes",
          .fix = "see `lamina plan --print memory`; lower batch.micro, or raise the limit (ulimit -v, cgroup)"});
  }
  data_ = got;
  if (huge) madvise(data_, size, MADV_HUGEPAGE);  // advice: kernels without huge pages refuse it
}

/// A file in memory has small pages, whatever is advised, unless each huge one is asked for by itself.
bool Arena::map_shared() {
  auto const length = rounded(bytes_);
  auto const size = static_cast<std::size_t>(length);
  rlimit largest_file = {};  // beyond it the system would end the process
  bool const fits = getrlimit(RLIMIT_FSIZE, &largest_file) == 0 && static_cast<rlim_t>(length) <= largest_file.rlim_cur;
  if (bytes_ < huge_page || !fits) return false;
  file_ = memfd_create("lamina", MFD_CLOEXEC);
  if (file_ < 0) return false;
  auto* const block = reserve_huge_pages(length);
  struct stat about = {};
  bool made = block && ftruncate(file_, length) == 0 && fstat(file_, &about) == 0 &&
              mmap(block, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_, 0) == block;
  for (std::int64_t at = 0; at < length && made; at += huge_page) made = make_huge(block + at);
  if (!made) {
    if (block) munmap(block, size);
    close(std::exchange(file_, -1));
    return false;
  }
  data_ = block;
  auto& blocks = shared_blocks();
  std::lock_guard const lock(blocks.mutex);
  blocks.list.push_back({reinterpret_cast<std::uint64_t>(data_), length, file_, about.st_ino});
  return true;
}

std::optional<SharedBlock> Arena::shared_block_of(void const* address) {
  auto const at = reinterpret_cast<std::uint64_t>(address);
  auto& blocks = shared_blocks();
  std::lock_guard const lock(blocks.mutex);
  for (auto const& b : blocks.list) {
    if (at >= b.base && at < b.base + static_cast<std::uint64_t>(b.bytes)) return b;
  }
  return {};
}

void Arena::unmap() {
  if (!data_) return;
  if (file_ >= 0) {
    auto& blocks = shared_blocks();
    std::lock_guard const lock(blocks.mutex);
    std::erase_if(blocks.list, [this](SharedBlock const& b) { return b.file == file_; });
    close(file_);
  }
  munmap(data_, static_cast<std::size_t>(rounded(bytes_)));
}

Arena::~Arena() { unmap(); }

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      file_(std::exchange(other.file_, -1)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(file_, other.file_);
  return *this;
}

}  // namespace lamina::device
