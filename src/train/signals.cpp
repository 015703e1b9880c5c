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

void on_signal(int number) {
  int none = 0;
  if (signal_number.compare_exchange_strong(none, number)) return;
  // The second one: no clean-up, which could hang where the first one already hangs.
  ::signal(number, SIG_DFL);
  ::raise(number);
}

}  // namespace

StopSignals::StopSignals() {
  signal_number = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < watched.size(); ++i) ::sigaction(watched[i], &action, &earlier[i]);
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < watched.size(); ++i) ::sigaction(watched[i], &earlier[i], nullptr);
}

int StopSignals::received() { return signal_number; }

}  // namespace lamina::train
