#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

namespace lamina::device {

/// Work that needs several looks: a collective, a transfer, a file write. Tasks are made once, when a program is
/// bound, and used every step, so that a step allocates nothing.
class Task {
 public:
  virtual ~Task() = default;
  /// Called once per use, in stream order, when every earlier task of the stream has finished. Must not block.
  virtual void start() = 0;
  /// Called repeatedly after `start` until it returns true, and not touched after that. Must not block. May throw: the
  /// stream keeps the exception and rethrows it from `wait`.
  virtual bool advance() = 0;
  /// A number that has changed whenever the last `advance` moved data: whoever polls then looks again at once instead
  /// of sleeping. A task that waits for a single event can leave it as it is.
  virtual std::uint64_t progress() const { return 0; }
  /// After an `advance` that returned false: before this time another one is of no use. Asked for after each, so that
  /// the service thread need not look again and again at what waits for a time; it looks every 20 ms all the same. The
  /// past: nobody knows.
  virtual std::chrono::steady_clock::time_point next_look() const { return {}; }
};

class Service;
class Helper;

/// An in-order queue of work. A kernel called with a stream runs at once in the calling thread, after the stream's
/// earlier tasks have finished. Tasks are advanced by the service thread if the stream was made with one, otherwise by
/// the caller inside `wait`.
///
/// One thread at a time enqueues and waits. When a task throws, the tasks behind it are dropped (counted as finished,
/// never started) and the stream stays failed: the ranks of a group are out of step from there on.
class Stream {
 public:
  static constexpr std::int64_t usual_capacity = 1024;

  /// @param capacity tasks in flight; `enqueue` waits when full.
  explicit Stream(std::int64_t capacity = usual_capacity);
  explicit Stream(Service& service, std::int64_t capacity = usual_capacity);
  ~Stream();  ///< waits; an exception that nobody waited for is dropped
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;

  /// Takes no ownership: the task must live until it has finished. Allocates nothing.
  void enqueue(Task& task);
  /// The same, but the service thread is not woken for it: whoever puts something here calls `Service::tell`, or helps,
  /// soon afterwards.
  void put(Task& task);
  /// For work that is done once: the stream frees the task some time after it has finished. Allocates.
  void enqueue(std::unique_ptr<Task> task);
  /// Number of tasks enqueued so far; a token for `finished` and `wait_for`.
  std::uint64_t issued() const;
  /// Number of tasks finished so far. Any thread.
  std::uint64_t finished() const;
  /// True when a task has thrown. Any thread.
  bool failed() const;
  /// Which task it was: the number of tasks enqueued before it. Only after `failed()`.
  std::uint64_t failed_task() const;
  /// Gives up: what has not finished is dropped, as after a failure, so that nobody waits for a peer that is gone.
  void cancel();
  /// Returns when `finished() >= count`; rethrows the exception of a task among the first `count`. Polls with back-off
  /// sleeps, advancing the streams of the service meanwhile (`Helper`).
  void wait_for(std::uint64_t count);
  void wait() { wait_for(issued()); }

 private:
  friend class Service;
  struct State;
  std::unique_ptr<State> state_;
};

/// The one service thread of a rank: advances the tasks of its streams, each stream independently, sleeping with
/// back-off (0.25 to 1 ms, or until the first `Task::next_look`) when nothing moves, so that it starves no rank on the
/// same core. It looks only at streams that have something to do; without work it sleeps until something is enqueued.
class Service {
 public:
  Service();
  /// Waits for all streams, then joins. Streams that are still there are advanced by their callers from then on.
  ~Service();
  Service(Service const&) = delete;
  Service& operator=(Service const&) = delete;

  /// Wakes the service thread if it sleeps and there is something to do.
  void tell();

 private:
  friend class Stream;
  friend class Helper;
  struct State;
  std::unique_ptr<State> state_;
};

/// A thread that has to wait anyway advances the service's streams itself, which saves the way through another thread:
/// as long as one of these lives, the service thread sleeps.
class Helper {
 public:
  explicit Helper(Service& service) : Helper(service.state_.get()) {}
  ~Helper();
  Helper(Helper const&) = delete;
  Helper& operator=(Helper const&) = delete;

  /// Looks at the streams once. Returns whether anything moved.
  bool look();

 private:
  friend class Stream;
  explicit Helper(Service::State* service);  ///< null: nothing to look at
  Service::State* service_;
};

}  // namespace lamina::device
