#include "lamina/train/signals.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>

namespace lamina::train {
namespace {

constexpr std::array<int, 3> watched{SIGUSR1, SIGTERM, SIGINT};
std::array<struct sigaction, watched.size()> earlier;
std::atomic<int> signal_number{0};
static_assert(std::atomic<int>::is_always_lock_free, "the handler may use it");
int depth = 0;  // of nested StopSignals

void on_signal(int number) {
  int none = 0;
  if (signal_number.compare_exchange_strong(none, number)) return;
  // The second one: no clean-up, which could hang where the first one already hangs.
  ::signal(number, SIG_DFL);
  ::raise(number);
}

sigset_t watched_set() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int const number : watched) ::sigaddset(&set, number);
  return set;
}

}  // namespace

StopSignals::StopSignals() {
  if (depth++ > 0) return;
  signal_number = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < watched.size(); ++i) ::sigaction(watched[i], &action, &earlier[i]);
  auto const set = watched_set();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // handlers do not survive execv, blocked and pending signals do
}

StopSignals::~StopSignals() {
  if (--depth > 0) return;
  for (std::size_t i = 0; i < watched.size(); ++i) ::sigaction(watched[i], &earlier[i], nullptr);
}

int StopSignals::received() { return signal_number; }

void StopSignals::hand_on() {
  if (depth == 0) return;
  auto const set = watched_set();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  if (signal_number != 0) ::raise(signal_number);  // pending from here on
}

}  // namespace lamina::train
