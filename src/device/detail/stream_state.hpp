#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
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
  std::array<Task*, capacity> ring{};
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

  // The producer's own.
  Service::State* service = nullptr;
  std::vector<std::pair<std::uint64_t, std::unique_ptr<Task>>> owned;  // with the count that says it has finished

  bool pending() const { return finished.load() < issued.load(); }

  /// Advances as far as it goes. Returns whether anything moved.
  bool step();
};

struct Service::State {
  std::mutex mutex;  // held by the service thread while it looks at the streams
  std::condition_variable work;
  std::vector<Stream::State*> streams;
  std::atomic<int> visitors{0};  // threads that want the mutex
  std::atomic<bool> asleep{false};
  bool stop = false;
  std::thread thread;

  void run();
  bool any_pending() const;
  void wake();
  void add(Stream::State* stream);
  void remove(Stream::State* stream);
};

}  // namespace lamina::device
