#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lamina/base/philox.hpp"

namespace lamina::test {

/// Seeded choices for generated cases: the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}

  /// 0 .. n - 1; n >= 1.
  int below(int n) {
    return static_cast<int>(Philox::word(seed_, counter_++, 0, 0x7e57) % static_cast<std::uint32_t>(n));
  }
  int between(int first, int last) { return first + below(last - first + 1); }
  bool one_in(int n) { return below(n) == 0; }
  template <class T>
  T const& of(std::vector<T> const& list) {
    return list[static_cast<std::size_t>(below(static_cast<int>(list.size())))];
  }

 private:
  std::uint64_t seed_, counter_ = 0;
};

}  // namespace lamina::test
