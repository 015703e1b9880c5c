// main() of tests on several ranks. Rank 0 prints as usual; the others print failures only, with their rank in front.
// A test that takes longer than LAMINA_TEST_LIMIT_S (default 20) ends the job and is named. All ranks exit alike.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

#include "lamina/comm/communicator.hpp"

namespace {

/// Ends the job when a test does not end.
class Watchdog {
 public:
  Watchdog(int rank, std::chrono::seconds limit) : rank_(rank), limit_(limit), thread_([this] { watch(); }) {}
  ~Watchdog() {
    set("", true);
    thread_.join();
  }
  void test(std::string name) { set(std::move(name), false); }

 private:
  void set(std::string name, bool stop) {
    std::lock_guard const lock(mutex_);
    name_ = std::move(name), stop_ = stop, ++tests_;
    changed_.notify_one();
  }
  void watch() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      auto const now = tests_;
      if (changed_.wait_for(lock, limit_, [&] { return tests_ != now; }) || name_.empty()) continue;
      std::fprintf(stderr, "[rank %d] %s has not ended within %lld s: the job ends here\n", rank_, name_.c_str(),
                   static_cast<long long>(limit_.count()));
      lamina::comm::abort_job(8);
    }
  }

  int rank_;
  std::chrono::seconds limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string name_;
  long tests_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

class Names final : public ::testing::EmptyTestEventListener {
 public:
  explicit Names(Watchdog& watchdog) : watchdog_(watchdog) {}
  void OnTestStart(::testing::TestInfo const& t) override {
    watchdog_.test(std::string(t.test_suite_name()) + "." + t.name());
  }
  void OnTestEnd(::testing::TestInfo const&) override { watchdog_.test(""); }

 private:
  Watchdog& watchdog_;
};

/// Failures of ranks other than 0.
class Failures final : public ::testing::EmptyTestEventListener {
 public:
  explicit Failures(int rank) : rank_(rank) {}
  void OnTestStart(::testing::TestInfo const& t) override { test_ = std::string(t.test_suite_name()) + "." + t.name(); }
  void OnTestPartResult(::testing::TestPartResult const& r) override {
    if (!r.failed()) return;
    std::fprintf(stderr, "[rank %d] %s failed at %s:%d\n%s\n", rank_, test_.c_str(),
                 r.file_name() ? r.file_name() : "?", r.line_number(), r.message());
  }

 private:
  int rank_;
  std::string test_;
};

std::chrono::seconds limit() {
  char const* const given = std::getenv("LAMINA_TEST_LIMIT_S");
  return std::chrono::seconds(given ? std::max(1, std::atoi(given)) : 20);
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  try {
    auto const world = lamina::comm::Communicator::world();
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    if (world.rank() != 0) {
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new Failures(world.rank()));
    }
    Watchdog watchdog(world.rank(), limit());
    listeners.Append(new Names(watchdog));
    int const mine = RUN_ALL_TESTS();
    watchdog.test("the end of all tests");
    return static_cast<int>(world.all_max(mine));
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    lamina::comm::abort_job(70);
  }
}
