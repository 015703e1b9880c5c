#include "lamina/comm/launcher_watch.hpp"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "comm/detail/launch.hpp"

namespace lamina::comm {
namespace {

constexpr char const* marks[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"};

class Watch : public ::testing::Test {
 protected:
  void SetUp() override {
    for (auto const* v : marks) unsetenv(v);
    unsetenv("SLURM_STEP_ID"), unsetenv("SLURM_STEP_NUM_TASKS");
  }
  void TearDown() override { SetUp(); }
};

/// Exit status of a "rank" whose "launcher", a process between it and this one, has gone; -1 when it lives on. Its end
/// comes to this process, which adopts it.
int status_of_orphan(bool marked) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  int ready[2], rank[2];
  if (::pipe(ready) != 0 || ::pipe(rank) != 0) return -2;
  auto const launcher = ::fork();
  if (launcher == 0) {
    auto const child = ::fork();
    if (child == 0) {
      if (marked) ::setenv("OMPI_COMM_WORLD_RANK", "0", 1);
      LauncherWatch const watch(std::chrono::milliseconds(5));
      [[maybe_unused]] auto const told = ::write(ready[1], "r", 1);
      marked ? static_cast<void>(::sleep(20)) : static_cast<void>(::usleep(200'000));
      ::_exit(77);
    }
    char c = 0;
    [[maybe_unused]] auto const heard = ::read(ready[0], &c, 1);
    [[maybe_unused]] auto const told = ::write(rank[1], &child, sizeof child);
    ::kill(::getpid(), SIGKILL);
  }
  pid_t child = 0;
  [[maybe_unused]] auto const heard = ::read(rank[0], &child, sizeof child);
  for (int const fd : {ready[0], ready[1], rank[0], rank[1]}) ::close(fd);
  int status = 0;
  ::waitpid(launcher, &status, 0);
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

TEST_F(Watch, ends_a_rank_with_code_8_when_its_launcher_was_killed) { EXPECT_EQ(status_of_orphan(true), 8); }

TEST_F(Watch, leaves_a_process_alone_that_no_launcher_started) { EXPECT_EQ(status_of_orphan(false), 77); }

TEST_F(Watch, knows_the_launcher_as_the_parent_of_what_it_started) {
  EXPECT_EQ(detail::find_launched().process, 0);
  setenv("SLURM_PROCID", "0", 1);  // a batch script
  EXPECT_EQ(detail::find_launched().process, 0);
  setenv("SLURM_STEP_ID", "0", 1), setenv("SLURM_STEP_NUM_TASKS", "2", 1);
  EXPECT_EQ(detail::find_launched().process, ::getpid());
  EXPECT_EQ(detail::find_launched().launcher, ::getppid());
  EXPECT_EQ(detail::parent_of(::getpid()), ::getppid());
  EXPECT_EQ(detail::parent_of(1), 0) << "also where it may not be read";
}

TEST_F(Watch, goes_as_quickly_as_it_comes) {
  setenv("PMI_RANK", "0", 1);
  for (int i = 0; i < 20; ++i) LauncherWatch const watch(std::chrono::hours(1));
}

}  // namespace
}  // namespace lamina::comm
