#pragma once

#include <cstdint>
#include <vector>

#include "lamina/program/program.hpp"

namespace lamina::program::detail {

/// "Happens before" inside one program: stream order plus `after`, as one vector clock per step (Fidge 1988, Mattern
/// 1989). Needs stream ids in range and `after` naming earlier steps only. O(steps * streams) time and memory.
class Order {
 public:
  explicit Order(Program const& program);

  /// `a` has finished before `b` starts. Never true for a == b.
  bool before(int a, int b) const { return position(a) <= clock(b, stream(a)); }
  /// 1 for the first step of a stream.
  int position(int step) const { return position_[static_cast<std::size_t>(step)]; }
  int stream(int step) const { return stream_[static_cast<std::size_t>(step)]; }
  /// How many steps of a stream happen before `step`.
  int clock(int step, int stream) const {
    return clocks_[static_cast<std::size_t>(step) * streams_ + static_cast<std::size_t>(stream)];
  }

 private:
  std::size_t streams_;
  std::vector<int> stream_, position_, clocks_;
};

}  // namespace lamina::program::detail
