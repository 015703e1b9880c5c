#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "lamina/device/stream.hpp"

namespace lamina::device {

/// A ring with one producer (who enqueues) and one consumer (who calls `step`: the service thread, or the caller of a
/// stream without one). The counters only grow; slot i of the ring belongs to the producer until `issued > i` and again
/// from `finished > i` on.
struct Stream::State {
  explicit State(std::int64_t capacity) : ring(static_cast<std::size_t>(capacity)) {}

  std::vector<Task*> ring;
  alignas(64) std::atomic<std::uint64_t> issued{0};
  alignas(64) std::atomic<std::uint64_t> finished{0};

  // Written by the consumer before `failed` is set, read by others after they saw it.
  std::atomic<bool> failed{false};
  std::uint64_t failed_at = 0;
  std::exception_ptr error;

  std::atomic<bool> cancelled{false};  // written by the producer

  // The consumer's own.
  bool started = false;
  std::uint64_t last_progress = 0;
  std::chrono::steady_clock::time_point next_look;  // of the task that did not finish in the last `step`

  // The producer's own.
  Service::State* service = nullptr;
  std::atomic<std::uint64_t>* active = nullptr;  // the service's word that has the stream's bit
  std::uint64_t bit = 0;
  std::vector<std::pair<std::uint64_t, std::unique_ptr<Task>>> owned;  // with the count that says it has finished

  bool pending() const { return finished.load() < issued.load(); }

  /// Advances as far as it goes. Returns whether anything moved.
  bool step();
  /// Something was enqueued: the service looks at this stream until it has nothing to do any more.
  void mark_active();
};

struct Service::State {
  std::mutex mutex;  // held by the service thread while it looks at the streams
  std::condition_variable work;
  std::vector<Stream::State*> streams;            // null where one has gone
  std::deque<std::atomic<std::uint64_t>> active;  // bit i % 64 of word i / 64: streams[i] may have something to do
  std::atomic<int> visitors{0};                   // threads that want the mutex
  enum class Sleep { none, until_next_look, until_work };
  std::atomic<Sleep> asleep{Sleep::none};
  std::atomic<bool> fresh{false};  // a stream that had nothing to do has got something since the last look
  std::atomic<int> helpers{0};     // threads that look at the streams in this thread's place
  bool stop = false;
  std::thread thread;
  std::chrono::steady_clock::time_point next_look;  // of the last `step`: the first of its streams

  void run();
  bool step();
  bool any_active() const;
  bool has_work() const { return helpers.load() == 0 && any_active(); }
  void tell();
  void wake();
  void add(Stream::State* stream);
  void remove(Stream::State* stream);
};

}  // namespace lamina::device
