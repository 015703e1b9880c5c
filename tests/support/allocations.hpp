#pragma once

#include <cstdint>
#include <string>

namespace lamina::test {

/// Counts the heap allocations of all threads while it lives: malloc and its relatives are interposed in a binary that
/// links allocations.cpp. What MPI's libraries and oneDNN allocate for themselves is left out by call site. One at a
/// time.
class Allocations {
 public:
  Allocations();
  ~Allocations();
  Allocations(Allocations const&) = delete;
  Allocations& operator=(Allocations const&) = delete;

  std::int64_t count() const;
  /// Where the first ones came from: library and offset, for addr2line.
  std::string places() const;
};

/// False where a sanitizer has its own malloc.
bool counts_allocations();

}  // namespace lamina::test
