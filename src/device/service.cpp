#include <signal.h>

#include <algorithm>
#include <bit>

#include "detail/stream_state.hpp"
#include "lamina/device/backoff.hpp"

namespace lamina::device {

bool Service::State::any_active() const {
  return std::any_of(active.begin(), active.end(), [](auto const& word) { return word.load() != 0; });
}

// A stream's bit is set after `issued`, and cleared before the last look at it: whoever enqueues and finds the bit set
// is seen by that look.
bool Service::State::step() {
  bool moved = false;
  for (std::size_t w = 0; w < active.size(); ++w) {
    for (auto bits = active[w].load(); bits != 0; bits &= bits - 1) {
      auto* const stream = streams[w * 64 + static_cast<std::size_t>(std::countr_zero(bits))];
      if (stream) moved |= stream->step();
      if (stream && stream->pending()) continue;
      active[w].fetch_and(~(bits & -bits));
      if (stream && stream->pending()) active[w].fetch_or(stream->bit);
    }
  }
  return moved;
}

// Lost wake-ups: `enqueue` sets the stream's bit (a helper that leaves counts itself out) and then reads `asleep`; here
// `asleep` is stored and then the bits and helpers are read, all sequentially consistent, so one sees the other. `wake`
// passes through the mutex, which this thread holds from its look at the bits until it waits.
void Service::State::run() {
  std::unique_lock lock(mutex);
  Backoff backoff;
  for (;;) {
    if (helpers.load() == 0 && step()) {
      backoff.reset();
      if (visitors.load() == 0) continue;
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    } else if (has_work()) {
      lock.unlock();
      backoff.pause();
      lock.lock();
    } else if (stop && !any_active()) {
      return;
    } else {
      asleep.store(true);
      work.wait(lock, [this] { return has_work() || (stop && !any_active()); });
      asleep.store(false);
      backoff.reset();
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
  if (asleep.load() && has_work()) wake();
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
