#include "lamina/device/stream.hpp"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace lamina {
namespace {

/// Finishes after `looks` calls of advance and writes its id into a log that only the advancing thread touches.
class Counted final : public device::Task {
 public:
  Counted(int id, int looks, std::vector<int>& log) : id_(id), looks_(looks), log_(&log) {}
  void start() override { left_ = looks_; }
  bool advance() override {
    if (--left_ > 0) return false;
    log_->push_back(id_);
    return true;
  }
  std::uint64_t progress() const override { return static_cast<std::uint64_t>(left_); }

 private:
  int id_, looks_, left_ = 0;
  std::vector<int>* log_;
};

/// Finishes when it is told to.
class Gate final : public device::Task {
 public:
  void start() override { started.store(true); }
  bool advance() override { return open.load(); }
  std::atomic<bool> started{false}, open{false};
};

class Throwing final : public device::Task {
 public:
  explicit Throwing(bool at_start) : at_start_(at_start) {}
  void start() override {
    if (at_start_) throw std::runtime_error("broken");
  }
  bool advance() override { throw std::runtime_error("broken"); }

 private:
  bool at_start_;
};

/// The same rules hold with the service thread and without it.
class StreamOf : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<device::Stream> make() {
    if (!GetParam()) return std::make_unique<device::Stream>();
    if (!service_) service_ = std::make_unique<device::Service>();
    return std::make_unique<device::Stream>(*service_);
  }

 private:
  std::unique_ptr<device::Service> service_;
};

TEST_P(StreamOf, runs_tasks_in_order_and_again_when_they_are_enqueued_again) {
  auto const stream = make();
  std::vector<int> log;
  Counted a(1, 1, log), b(2, 50, log), c(3, 2, log);
  for (int round = 0; round < 3; ++round) {
    for (auto* task : {&a, &b, &c}) stream->enqueue(*task);
    stream->wait();
    EXPECT_EQ(log, (std::vector<int>{1, 2, 3}));
    log.clear();
  }
  EXPECT_EQ(stream->issued(), 9u);
  EXPECT_EQ(stream->finished(), 9u);
}

TEST_P(StreamOf, without_tasks_waits_for_nothing) {
  auto const stream = make();
  stream->wait();
  EXPECT_EQ(stream->finished(), 0u);
}

TEST_P(StreamOf, holds_more_tasks_than_its_ring) {
  auto const stream = make();
  std::vector<int> log;
  std::vector<Counted> tasks;
  auto const n = 3 * device::Stream::usual_capacity + 1;
  for (int i = 0; i < n; ++i) tasks.emplace_back(i, i % 3, log);
  for (auto& task : tasks) stream->enqueue(task);
  stream->wait();
  ASSERT_EQ(std::ssize(log), n);
  for (int i = 0; i < n; ++i) ASSERT_EQ(log[i], i);
}

TEST_P(StreamOf, keeps_an_exception_drops_what_is_behind_and_rethrows_it_each_time) {
  for (bool const at_start : {true, false}) {
    auto const stream = make();
    std::vector<int> log;
    Counted before(1, 1, log), behind(2, 1, log);
    Throwing broken(at_start);
    stream->enqueue(before);
    stream->enqueue(broken);
    stream->enqueue(behind);
    stream->wait_for(1);  // what came before the failure is fine
    EXPECT_THROW(stream->wait(), std::runtime_error);
    EXPECT_THROW(stream->wait_for(2), std::runtime_error);
    stream->enqueue(behind);
    EXPECT_THROW(stream->wait(), std::runtime_error);
    EXPECT_TRUE(stream->failed());
    EXPECT_EQ(log, (std::vector<int>{1}));
    EXPECT_EQ(stream->finished(), 4u);
  }
}

TEST_P(StreamOf, names_the_task_that_failed) {
  auto const stream = make();
  std::vector<int> log;
  Counted before(1, 1, log);
  Throwing broken(false);
  for (auto* task : {static_cast<device::Task*>(&before), static_cast<device::Task*>(&broken)}) stream->enqueue(*task);
  EXPECT_THROW(stream->wait(), std::runtime_error);
  EXPECT_EQ(stream->failed_task(), 1u);
}

TEST_P(StreamOf, can_be_cancelled_while_a_task_waits_for_ever) {
  auto const stream = make();
  Gate never;
  std::vector<int> log;
  Counted behind(1, 1, log);
  stream->enqueue(never);
  stream->enqueue(behind);
  stream->cancel();
  EXPECT_THROW(stream->wait(), std::exception);
  EXPECT_TRUE(log.empty());
}

TEST_P(StreamOf, frees_the_tasks_that_it_owns_after_they_have_finished) {
  struct Owned final : device::Task {
    explicit Owned(std::shared_ptr<int> k) : kept(std::move(k)) {}
    void start() override {}
    bool advance() override { return true; }
    std::shared_ptr<int> kept;
  };
  auto const kept = std::make_shared<int>(0);
  {
    auto const stream = make();
    for (int i = 0; i < 10; ++i) {
      stream->enqueue(std::make_unique<Owned>(kept));
      stream->wait();
    }
    EXPECT_LE(kept.use_count(), 3);
  }
  EXPECT_EQ(kept.use_count(), 1);
}

INSTANTIATE_TEST_SUITE_P(device, StreamOf, ::testing::Values(false, true),
                         [](auto const& p) { return p.param ? std::string("service") : std::string("caller"); });

/// A stream that a gate may hold up beside one that runs.
struct TwoStreams {
  device::Service service;
  device::Stream held{service}, free{service};
  Gate gate;
  std::vector<int> log;
};

TEST(Service, advances_each_stream_independently) {
  TwoStreams two;
  Counted task(1, 3, two.log);
  two.held.enqueue(two.gate);
  two.free.enqueue(task);
  two.free.wait();
  EXPECT_EQ(two.held.finished(), 0u);
  EXPECT_EQ(two.log.size(), 1u);
  two.gate.open.store(true);
  two.held.wait();
}

TEST(Service, runs_on_while_its_caller_does_something_else) {
  device::Service service;
  device::Stream stream(service);
  Gate gate;
  stream.enqueue(gate);
  auto const end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!gate.started.load() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_TRUE(gate.started.load());
  gate.open.store(true);
  stream.wait();  // a task must outlive its work
}

/// Nobody helps here: a wake-up that is lost holds this up until the test's time limit.
TEST(Service, is_woken_by_each_task_on_an_idle_stream) {
  TwoStreams two;
  Counted task(1, 1, two.log);
  for (bool const pending : {false, true}) {
    if (pending) two.held.enqueue(two.gate);
    for (int i = 0; i < 1000; ++i) {
      two.free.enqueue(task);
      while (two.free.finished() < two.free.issued()) std::this_thread::yield();
      if (i % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));  // it has gone to sleep by then
    }
  }
  EXPECT_EQ(two.log.size(), 2000u);
  EXPECT_EQ(two.held.finished(), 0u);
  two.gate.open.store(true);
  two.held.wait();
}

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

TEST(Service, leaves_the_core_to_others_while_it_waits) {
  device::Service service;
  device::Stream stream(service);
  Gate gate;
  for (bool const pending : {false, true}) {
    if (pending) stream.enqueue(gate);
    auto const before = cpu_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_LT(cpu_seconds() - before, 0.04) << "pending: " << pending;  // spinning would take 0.1
  }
  gate.open.store(true);
  stream.wait();
}

/// Done at a time that it tells.
struct Alarm final : device::Task {
  std::chrono::steady_clock::time_point at;
  std::atomic<int> looks{0};
  void start() override {
    at = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    looks = 0;
  }
  bool advance() override {
    ++looks;
    return std::chrono::steady_clock::now() >= at;
  }
  std::chrono::steady_clock::time_point next_look() const override { return at; }
};

TEST(Service, leaves_a_task_alone_until_the_time_it_tells_and_serves_others_meanwhile) {
  device::Service service;
  device::Stream waiting(service), other(service);
  std::vector<int> log;
  Counted task(1, 1, log);
  Alarm alarm;
  for (int round = 0; round < 2; ++round) {
    waiting.enqueue(alarm);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    other.enqueue(task);
    while (other.finished() < other.issued()) std::this_thread::yield();
    EXPECT_LT(waiting.finished(), waiting.issued()) << "the other task waited for the alarm";
    while (waiting.finished() < waiting.issued()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_LT(alarm.looks, 30);  // one each millisecond would be 300
  }
  EXPECT_EQ(log.size(), 2u);
}

TEST(Service, can_go_before_its_streams) {
  auto service = std::make_unique<device::Service>();
  device::Stream stream(*service);
  std::vector<int> log;
  Counted task(1, 3, log);
  stream.enqueue(task);
  service.reset();
  EXPECT_EQ(stream.finished(), 1u);
  stream.enqueue(task);
  stream.wait();
  EXPECT_EQ(log.size(), 2u);
}

TEST(Service, serves_streams_that_come_and_go_under_load) {
  device::Service service;
  device::Stream steady(service);
  std::vector<int> log;
  Counted task(1, 7, log);
  for (int i = 0; i < 200; ++i) {
    steady.enqueue(task);
    std::vector<int> mine;
    Counted other(2, 3, mine);
    device::Stream brief(service);
    brief.enqueue(other);
    if (i % 2) brief.wait();
  }
  steady.wait();
  EXPECT_EQ(log.size(), 200u);
}

}  // namespace
}  // namespace lamina
