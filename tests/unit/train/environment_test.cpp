#include "lamina/train/environment.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <new>
#include <stdexcept>
#include <system_error>

namespace lamina::train {
namespace {

TEST(UsableMemory, is_shared_by_the_ranks_of_a_machine) {
  auto const one = usable_memory_bytes(1);
  EXPECT_GT(one, 0);
  EXPECT_LE(usable_memory_bytes(2), one);
  EXPECT_LE(usable_memory_bytes(1000), one / 500);
}

TEST(UsableMemory, is_what_the_limits_of_the_process_leave) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer cannot live under these limits";
#endif
  for (auto const resource : {RLIMIT_DATA, RLIMIT_AS}) {
    struct rlimit before {};
    ASSERT_EQ(getrlimit(resource, &before), 0);
    auto limit = before;
    limit.rlim_cur = rlim_t{2} << 20;  // less than the process has: no memory is granted until it is put back
    ASSERT_EQ(setrlimit(resource, &limit), 0);
    auto const none = usable_memory_bytes();
    limit.rlim_cur = rlim_t{64} << 30;  // more than it has, by much
    ASSERT_EQ(setrlimit(resource, &limit), 0);
    auto const much = usable_memory_bytes();
    ASSERT_EQ(setrlimit(resource, &before), 0);
    EXPECT_EQ(none, 1) << "0 would mean that nothing is known";
    EXPECT_GT(much, 1);
    EXPECT_LE(much, std::int64_t{64} << 30);
  }
}

TEST(OpenMpEnvironment, binds_threads_to_cores_that_are_the_process_own) {
  struct Case {
    Threads threads;
    char const* bound;
  };
  for (auto const& [threads, bound] :
       {Case{{.cores = 8, .online = 8, .count = 8}, "close"}, Case{{.cores = 8, .online = 8, .count = 3}, "false"},
        Case{{.cores = 4, .online = 8, .local_ranks = 2, .count = 3}, "close"},
        Case{{.cores = 8, .online = 8, .local_ranks = 2, .count = 4, .shared = true}, "false"},
        Case{{.cores = 2, .online = 8, .count = 4, .shared = true}, "false"}}) {
    auto const wanted = openmp_environment(threads);
    EXPECT_EQ(wanted.at("OMP_NUM_THREADS"), std::to_string(threads.count));
    EXPECT_EQ(wanted.at("OMP_PROC_BIND"), bound) << threads.count << " of " << threads.cores;
    EXPECT_EQ(wanted.contains("OMP_PLACES"), wanted.at("OMP_PROC_BIND") == "close");
    EXPECT_EQ(wanted.contains("OMP_WAIT_POLICY"), threads.shared);
  }
}

TEST(AsError, tells_refused_memory_and_threads_from_bugs) {
  EXPECT_EQ(as_error(std::bad_alloc()).exit_code(), ExitCode::memory);
  EXPECT_EQ(as_error(std::system_error(EAGAIN, std::generic_category())).exit_code(), ExitCode::memory);
  EXPECT_EQ(as_error(std::system_error(ENOMEM, std::generic_category())).info().code, "train.memory.exhausted");
  EXPECT_EQ(as_error(std::system_error(EPERM, std::generic_category())).exit_code(), ExitCode::internal);
  auto const bug = as_error(std::out_of_range("somewhere"));
  EXPECT_EQ(bug.exit_code(), ExitCode::internal);
  EXPECT_EQ(bug.info().subject, "somewhere");
}

}  // namespace
}  // namespace lamina::train
