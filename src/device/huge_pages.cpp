#include "lamina/device/huge_pages.hpp"

#include <sys/mman.h>

namespace lamina::device {

// One huge page more than needed, so that the block can start on a huge page; the rest is given back.
char* reserve_huge_pages(std::int64_t bytes) {
  auto const size = static_cast<std::size_t>(bytes);
  void* const got = mmap(nullptr, size + huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED) return nullptr;
  auto const head = (huge_page - reinterpret_cast<std::intptr_t>(got) % huge_page) % huge_page;
  auto* const block = static_cast<char*>(got) + head;
  if (head > 0) munmap(got, static_cast<std::size_t>(head));
  munmap(block + size, static_cast<std::size_t>(huge_page - head));
  return block;
}

}  // namespace lamina::device
