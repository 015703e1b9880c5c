#include "lamina/device/stream.hpp"

#include <chrono>

#include "detail/stream_state.hpp"
#include "lamina/device/backoff.hpp"

namespace lamina::device {
namespace {

struct Cancelled final : std::exception {
  char const* what() const noexcept override { return "the stream was cancelled"; }
};

}  // namespace

bool Stream::State::step() {
  bool moved = false;
  for (auto at = finished.load(std::memory_order_relaxed); at < issued.load(std::memory_order_acquire); ++at) {
    Task& task = *ring[at % ring.size()];
    if (!failed.load(std::memory_order_relaxed)) {
      try {
        if (cancelled.load(std::memory_order_acquire)) throw Cancelled();
        if (!started) {
          task.start();
          started = true, moved = true;
          last_progress = task.progress();
        }
        if (!task.advance()) {
          next_look = task.next_look();
          auto const progress = task.progress();
          return std::exchange(last_progress, progress) != progress || moved;
        }
      } catch (...) {
        error = std::current_exception();
        failed_at = at;
        failed.store(true, std::memory_order_release);
      }
    }
    started = false, moved = true;
    finished.store(at + 1);
  }
  return moved;
}

void Stream::State::mark_active() {
  if (!service || (active->load() & bit) != 0) return;
  active->fetch_or(bit);
  service->fresh.store(true);
}

Stream::Stream(std::int64_t capacity) : state_(std::make_unique<State>(capacity)) {}

Stream::Stream(Service& service, std::int64_t capacity) : Stream(capacity) {
  state_->service = service.state_.get();
  state_->service->add(state_.get());
}

Stream::~Stream() {
  try {
    wait();
  } catch (...) {  // whoever cared has waited
  }
  if (state_->service) state_->service->remove(state_.get());
}

std::uint64_t Stream::issued() const { return state_->issued.load(std::memory_order_relaxed); }
std::uint64_t Stream::finished() const { return state_->finished.load(std::memory_order_acquire); }
bool Stream::failed() const { return state_->failed.load(std::memory_order_acquire); }

std::uint64_t Stream::failed_task() const { return state_->failed_at; }
void Stream::cancel() { state_->cancelled.store(true, std::memory_order_release); }

void Stream::enqueue(Task& task) {
  put(task);
  if (state_->service) state_->service->tell();
}

void Stream::put(Task& task) {
  auto const at = issued();
  if (state_->service && at - finished() >= state_->ring.size()) state_->service->tell();
  for (Backoff backoff; at - finished() >= state_->ring.size();) {
    if (state_->service || !state_->step()) backoff.pause();
  }
  state_->ring[at % state_->ring.size()] = &task;
  state_->issued.store(at + 1);
  state_->mark_active();
}

void Stream::enqueue(std::unique_ptr<Task> task) {
  auto const done = finished();
  std::erase_if(state_->owned, [&](auto const& item) { return item.first <= done; });
  state_->owned.emplace_back(issued() + 1, std::move(task));
  enqueue(*state_->owned.back().second);
}

void Stream::wait_for(std::uint64_t count) {
  if (finished() < count) {
    Helper helper(state_->service);
    for (Backoff backoff(std::chrono::microseconds(50)); finished() < count;) {
      if (state_->service ? helper.look() : state_->step()) {
        backoff.reset();
      } else {
        backoff.pause();
      }
    }
  }
  if (failed() && state_->failed_at < count) std::rethrow_exception(state_->error);
}

}  // namespace lamina::device
