#include "lamina/base/fault.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "support/errors.hpp"

namespace lamina::fault {
namespace {

class Faults : public ::testing::Test {
 protected:
  ~Faults() override { configure(""), set_rank(0); }
};

TEST_F(Faults, happen_once_at_the_passage_that_was_named) {
  configure("a.write:EIO:0:3");
  EXPECT_EQ(hit("a", "write"), Action::none);
  EXPECT_EQ(hit("a", "read"), Action::none);
  EXPECT_EQ(hit("b", "write"), Action::none);
  EXPECT_EQ(hit("a", "write"), Action::none);
  EXPECT_EQ(hit("a", "write"), Action::io_error);
  EXPECT_EQ(hit("a", "write"), Action::none);
}

TEST_F(Faults, happen_on_the_rank_that_was_named_or_on_all) {
  set_rank(2);
  configure("a.x:ENOSPC:1:1,b.x:short-write:2:1,c.x:bitflip:*:1");
  EXPECT_EQ(hit("a", "x"), Action::none);
  EXPECT_EQ(hit("b", "x"), Action::short_write);
  EXPECT_EQ(hit("c", "x"), Action::bitflip);
}

TEST_F(Faults, that_cannot_be_read_are_refused) {
  for (char const* bad : {"a", "a:kill", "a:kill:0", "a:kill:0:0", "a:kill:0:-1", "a:kill:x:1", "a:boom:0:1",
                          ":kill:0:1", "a:kill:0:1,", "a:kill:0:1:2", "a:kill:0:99999999999"})
    EXPECT_EQ(test::error_of([&] { configure(bad); }).code, "base.fault.syntax") << bad;
}

TEST_F(Faults, kill_ends_the_process_as_kill_minus_nine_does) {
  configure("a.x:kill:*:1");
  pid_t const child = ::fork();
  if (child == 0) {
    hit("a", "x");
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(Faults, stop_halts_the_process_until_it_is_continued) {
  configure("a.x:stop:*:1");
  pid_t const child = ::fork();
  if (child == 0) {
    hit("a", "x");
    ::_exit(17);
  }
  int status = 0;
  ::waitpid(child, &status, WUNTRACED);
  EXPECT_TRUE(WIFSTOPPED(status));
  ::kill(child, SIGCONT);
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 17);
}

}  // namespace
}  // namespace lamina::fault
