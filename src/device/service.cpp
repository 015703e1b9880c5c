#include <signal.h>

#include <algorithm>

#include "detail/stream_state.hpp"
#include "lamina/device/backoff.hpp"

namespace lamina::device {

bool Service::State::any_pending() const {
  return std::any_of(streams.begin(), streams.end(), [](Stream::State* s) { return s->pending(); });
}

// Lost wake-ups: `enqueue` stores `issued` and then reads `asleep`; here `asleep` is stored and then `issued` read, all
// sequentially consistent, so one of the two sees the other. `wake` passes through the mutex, which this thread holds
// from its look at `issued` until it waits.
void Service::State::run() {
  std::unique_lock lock(mutex);
  Backoff backoff;
  for (;;) {
    bool moved = false;
    for (auto* stream : streams) moved |= stream->step();
    if (moved) {
      backoff.reset();
      if (visitors.load() == 0) continue;
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    } else if (any_pending()) {
      lock.unlock();
      backoff.pause();
      lock.lock();
    } else if (stop) {
      return;
    } else {
      asleep.store(true);
      work.wait(lock, [this] { return stop || any_pending(); });
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

void Service::State::add(Stream::State* stream) {
  visitors.fetch_add(1);
  std::lock_guard const lock(mutex);
  visitors.fetch_sub(1);
  streams.push_back(stream);
}

void Service::State::remove(Stream::State* stream) {
  visitors.fetch_add(1);
  std::lock_guard const lock(mutex);
  visitors.fetch_sub(1);
  std::erase(streams, stream);
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
  for (auto* stream : state_->streams) stream->service = nullptr;
}

}  // namespace lamina::device
