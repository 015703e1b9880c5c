#pragma once

#include <chrono>

namespace lamina::device {

/// How to wait for something that has to be polled: a few yields, then sleeps that grow from 1 us to a limit. A waiting
/// thread so leaves its core to whoever else is on it, yet notices quickly what comes soon.
class Backoff {
 public:
  explicit Backoff(std::chrono::nanoseconds longest = std::chrono::microseconds(200)) : longest_(longest) {}

  void pause();
  /// Something moved: be quick again.
  void reset() { looks_ = 0, sleep_ = std::chrono::microseconds(1); }

 private:
  std::chrono::nanoseconds longest_, sleep_ = std::chrono::microseconds(1);
  int looks_ = 0;
};

}  // namespace lamina::device
