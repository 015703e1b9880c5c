#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>

#include "detail/stream_state.hpp"

namespace lamina::device {
namespace {

/// What the kernel calls sched_attr; not in the C library's headers.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes), policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0, deadline = 0, period = 0;
};

/// This thread looks for a moment and sleeps again, on a core that a kernel keeps busy. With the usual time slice it
/// would get there at the kernel's next tick, up to 4 ms later; with a slice of 0.1 ms it is due at once. Costs no
/// share of the core and needs no right. Linux before 6.12 ignores it.
void ask_for_short_slices() {
  SchedulingAttributes a;
  if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) != 0 || a.policy != SCHED_OTHER) return;
  a.runtime = 100'000;
  syscall(SYS_sched_setattr, 0, &a, 0);
}

/// Between two looks at messages on their way. Whoever waits for a stream looks for itself, quickly (Helper); this
/// thread serves those who compute, and each of its looks costs a kernel on the same core some 20 us. What is enqueued
/// on an idle stream does not wait for the next look.
constexpr std::chrono::nanoseconds first_pause = std::chrono::microseconds(250);
constexpr std::chrono::nanoseconds longest_pause = std::chrono::milliseconds(1);
/// However long a task wants to be left alone: somebody may have cancelled its stream.
constexpr std::chrono::nanoseconds longest_sleep = std::chrono::milliseconds(20);

}  // namespace

bool Service::State::any_active() const {
  return std::any_of(active.begin(), active.end(), [](auto const& word) { return word.load() != 0; });
}

// A stream's bit is set after `issued`, and cleared before the last look at it: whoever enqueues and finds the bit set
// is seen by that look.
bool Service::State::step() {
  bool moved = false;
  next_look = std::chrono::steady_clock::time_point::max();
  for (std::size_t w = 0; w < active.size(); ++w) {
    for (auto bits = active[w].load(); bits != 0; bits &= bits - 1) {
      auto* const stream = streams[w * 64 + static_cast<std::size_t>(std::countr_zero(bits))];
      if (stream) moved |= stream->step();
      if (stream && stream->pending()) {
        next_look = std::min(next_look, stream->next_look);
        continue;
      }
      active[w].fetch_and(~(bits & -bits));
      if (stream && stream->pending()) active[w].fetch_or(stream->bit), moved = true;
    }
  }
  return moved;
}

// Lost wake-ups: `enqueue` sets the stream's bit and `fresh` (a helper that leaves counts itself out) and then reads
// `asleep`; here `asleep` is stored and then bits, `fresh` and helpers are read, all sequentially consistent, so one
// sees the other. `wake` passes through the mutex, which this thread holds from its look at the bits until it waits.
void Service::State::run() {
  ask_for_short_slices();
  std::unique_lock lock(mutex);
  auto pause = first_pause;
  auto const sleep = [&](Sleep how, auto const& is_over) {
    asleep.store(how);
    if (how == Sleep::until_work) {
      work.wait(lock, is_over);
    } else {
      auto const now = std::chrono::steady_clock::now();
      work.wait_until(lock, next_look > now ? std::min(next_look, now + longest_sleep) : now + pause, is_over);
    }
    asleep.store(Sleep::none);
  };
  for (;;) {
    fresh.store(false);
    next_look = {};
    if (helpers.load() == 0 && step()) {
      pause = first_pause;
      if (visitors.load() == 0) continue;
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    } else if (has_work()) {
      sleep(Sleep::until_next_look, [this] { return fresh.load(); });
      pause = std::min(pause + pause / 4, longest_pause);
    } else if (stop && !any_active()) {
      return;
    } else {
      sleep(Sleep::until_work, [this] { return has_work() || (stop && !any_active()); });
      pause = first_pause;
    }
  }
}

void Service::State::wake() {
  visitors.fetch_add(1);
  { std::lock_guard const lock(mutex); }
  visitors.fetch_sub(1);
  work.notify_one();
}

void Service::State::tell() {
  auto const how = asleep.load();
  if (how == Sleep::until_work ? has_work() : how == Sleep::until_next_look && fresh.load()) wake();
}

void Service::State::add(Stream::State* stream) {
  visitors.fetch_add(1);
  std::lock_guard const lock(mutex);
  visitors.fetch_sub(1);
  auto const at = static_cast<std::size_t>(std::find(streams.begin(), streams.end(), nullptr) - streams.begin());
  if (at == streams.size()) streams.push_back(nullptr);
  if (at / 64 == active.size()) active.emplace_back(0);
  streams[at] = stream;
  stream->active = &active[at / 64];
  stream->bit = std::uint64_t{1} << (at % 64);
}

void Service::State::remove(Stream::State* stream) {
  visitors.fetch_add(1);
  std::lock_guard const lock(mutex);
  visitors.fetch_sub(1);
  *std::find(streams.begin(), streams.end(), stream) = nullptr;
  stream->active->fetch_and(~stream->bit);
}

Service::Service() : state_(std::make_unique<State>()) {
  // A new thread inherits the mask: signals to the process stay with the threads that expect them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  state_->thread = std::thread([state = state_.get()] { state->run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Service::~Service() {
  {
    state_->visitors.fetch_add(1);
    std::lock_guard const lock(state_->mutex);
    state_->visitors.fetch_sub(1);
    state_->stop = true;
  }
  state_->work.notify_one();
  state_->thread.join();
  for (auto* stream : state_->streams) {
    if (stream) stream->service = nullptr;
  }
}

void Service::tell() { state_->tell(); }

Helper::Helper(Service::State* service) : service_(service) {
  if (service_) service_->helpers.fetch_add(1);
}

Helper::~Helper() {
  if (!service_) return;
  service_->helpers.fetch_sub(1);
  service_->tell();
}

bool Helper::look() {
  if (!service_) return false;
  std::unique_lock const lock(service_->mutex, std::try_to_lock);
  return lock.owns_lock() && service_->step();
}

}  // namespace lamina::device
