#include "lamina/train/signals.hpp"

#include <gtest/gtest.h>
#include <signal.h>

namespace lamina::train {
namespace {

bool is_pending(int number) {
  sigset_t set;
  ::sigpending(&set);
  return ::sigismember(&set, number) == 1;
}

TEST(StopSignals, remember_the_first_signal_while_they_live) {
  EXPECT_EQ(StopSignals::received(), 0);
  StopSignals const signals;
  ::raise(SIGTERM);
  EXPECT_EQ(StopSignals::received(), SIGTERM);
}

TEST(StopSignals, an_inner_object_forgets_nothing_and_leaves_the_handlers) {
  StopSignals const signals;
  EXPECT_EQ(StopSignals::received(), 0) << "the outermost one begins anew";
  ::raise(SIGUSR1);
  {
    StopSignals const inner;
    EXPECT_EQ(StopSignals::received(), SIGUSR1);
  }
  struct sigaction now {};
  ::sigaction(SIGUSR1, nullptr, &now);
  EXPECT_NE(now.sa_handler, SIG_DFL);
}

TEST(StopSignals, what_arrived_before_an_exec_waits_for_the_next_image) {
  for (bool const before : {true, false}) {
    {
      StopSignals const signals;
      if (before) ::raise(SIGINT);
      StopSignals::hand_on();
      if (!before) ::raise(SIGINT);
      EXPECT_TRUE(is_pending(SIGINT));
    }
    StopSignals const next_image;
    EXPECT_EQ(StopSignals::received(), SIGINT);
    EXPECT_FALSE(is_pending(SIGINT));
  }
}

TEST(StopSignals, nothing_is_held_back_for_a_program_that_does_not_use_them) {
  StopSignals::hand_on();
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  for (int const number : {SIGUSR1, SIGTERM, SIGINT}) EXPECT_EQ(::sigismember(&mask, number), 0);
}

}  // namespace
}  // namespace lamina::train
