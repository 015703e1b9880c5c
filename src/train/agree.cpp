#include "lamina/train/agree.hpp"

#include <chrono>
#include <exception>
#include <thread>

#include "lamina/base/log.hpp"
#include "lamina/io/agree.hpp"

namespace lamina::train {

void on_lead(comm::Communicator const& world, std::function<void()> const& f) {
  std::exception_ptr original;  // rank 0 throws what it caught: its message names no rank
  try {
    io::agree(world, [&] {
      if (world.rank() != 0) return;
      try {
        f();
      } catch (...) {
        original = std::current_exception();
        throw;
      }
    });
  } catch (Error const&) {
    if (original) std::rethrow_exception(original);
    throw;
  }
}

ExitCode leave(comm::Communicator exits, ExitCode code, std::string const& message, double patience_seconds) {
  auto const barrier = exits.make_barrier();
  barrier->start();
  auto const start = std::chrono::steady_clock::now();
  while (!barrier->advance()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    bool const late =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > patience_seconds;
    if (code == ExitCode::ok || code == ExitCode::stopped_early || !late) continue;
    log::error(message);
    comm::abort_job(static_cast<int>(code));
  }
  auto const worst = static_cast<ExitCode>(exits.all_max(static_cast<int>(code)));
  auto const speaker = exits.all_min(message.empty() ? exits.size() : exits.rank());
  // What all ranks met alike is nobody's in particular.
  if (exits.all_sum(message.empty() ? 0 : 1) == exits.size()) log::set_rank(0, 1);
  if (speaker == exits.rank()) log::error(message);
  exits.barrier();
  return worst;
}

}  // namespace lamina::train
