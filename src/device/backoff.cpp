#include "lamina/device/backoff.hpp"

#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <thread>

namespace lamina::device {
namespace {

constexpr int yields = 32;

/// The kernel rounds sleeps of a normal thread up by 50 us to save wake-ups; 1 us is asked for instead, once a thread.
void ask_for_precise_sleeps() {
  thread_local bool const asked = prctl(PR_SET_TIMERSLACK, 1000UL) == 0;
  static_cast<void>(asked);
}

}  // namespace

void Backoff::pause() {
  if (looks_ < yields) {
    ++looks_;
    sched_yield();
    return;
  }
  ask_for_precise_sleeps();
  std::this_thread::sleep_for(sleep_);
  sleep_ = std::min(longest_, sleep_ + sleep_ / 4 + std::chrono::nanoseconds(250));
}

}  // namespace lamina::device
