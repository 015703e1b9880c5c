#include "lamina/comm/clock.hpp"

#include <array>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <thread>

#include "lamina/device/backoff.hpp"

namespace lamina::comm {
namespace {

/// Looks without sleeping while an answer can be on its way, which a sleep would delay.
void finish(device::Task& task) {
  constexpr int eager = 5000;
  device::Backoff backoff;
  task.start();
  for (int looks = 0; !task.advance(); ++looks) {
    if (looks < eager) {
      std::this_thread::yield();
    } else {
      backoff.pause();
    }
  }
}

/// Two numbers that go to a rank and come back.
struct Pair {
  Pair(Communicator const& world, int peer) {
    TensorRef const memory{words.data(), {DType::i64, {2}}};
    send = world.make_send(memory, peer), recv = world.make_recv(memory, peer);
  }
  std::array<std::int64_t, 2> words{};
  std::unique_ptr<device::Task> send, recv;
};

void ask(Communicator const& world, int peer, std::function<std::int64_t()> const& now, int rounds) {
  Pair with(world, peer);
  auto shortest = std::numeric_limits<std::int64_t>::max();
  ClockOffset best;
  for (int i = 0; i < rounds; ++i) {
    auto const asked = now();
    finish(*with.send);
    finish(*with.recv);
    auto const trip = now() - asked;
    if (trip >= shortest) continue;
    shortest = trip;
    best = {.offset_ns = with.words[0] - (asked + trip / 2), .uncertainty_ns = (trip + 1) / 2};
  }
  if (std::abs(best.offset_ns) <= best.uncertainty_ns) best.offset_ns = 0;
  with.words = {best.offset_ns, best.uncertainty_ns};
  finish(*with.send);
}

ClockOffset answer(Communicator const& world, std::function<std::int64_t()> const& now, int rounds) {
  Pair with(world, 0);
  for (int i = 0; i < rounds; ++i) {
    finish(*with.recv);
    with.words[0] = now();
    finish(*with.send);
  }
  finish(*with.recv);
  return {.offset_ns = with.words[0], .uncertainty_ns = with.words[1]};
}

}  // namespace

std::int64_t steady_ns() {
  auto const now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

ClockOffset measure_clock(Communicator const& world, std::function<std::int64_t()> const& now, int rounds) {
  if (world.rank() != 0) return answer(world, now, rounds);
  for (int peer = 1; peer < world.size(); ++peer) ask(world, peer, now, rounds);
  return {};
}

}  // namespace lamina::comm
