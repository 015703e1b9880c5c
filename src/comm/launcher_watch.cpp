#include "lamina/comm/launcher_watch.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "detail/launch.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::comm {
namespace detail {

int parent_of(int process) {
  if (process == ::getpid()) return ::getppid();
  std::ifstream in(text("/proc/", process, "/stat"));
  std::string const line(std::istreambuf_iterator<char>(in), {});
  auto const name_end = line.rfind(')');  // "pid (name) state parent ...", and a name may hold anything
  return name_end == line.npos ? 0 : std::atoi(line.c_str() + std::min(line.size(), name_end + 4));
}

namespace {

/// What the launcher gave this rank and no other process: "NAME=VALUE", or "".
std::string mark_of_rank() {
  // A script of sbatch has SLURM_PROCID too: only a step of several tasks is a launch of ranks.
  for (auto const* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"}) {
    if (std::string_view(name) == "SLURM_PROCID" && announced_ranks() < 2) return "";
    if (auto const* value = std::getenv(name)) return text(name, "=", value);
  }
  return "";
}

bool was_given(int process, std::string const& mark) {
  std::ifstream in(text("/proc/", process, "/environ"), std::ios::binary);
  for (std::string variable; std::getline(in, variable, '\0');) {
    if (variable == mark) return true;
  }
  return false;  // or another user's, as Slurm's daemon is
}

}  // namespace

Launched find_launched() {
  auto const mark = mark_of_rank();
  if (mark.empty()) return {};
  Launched l{.process = ::getpid(), .launcher = ::getppid()};
  while (l.launcher > 1 && was_given(l.launcher, mark)) {  // a script that does not end in exec
    l.process = l.launcher;
    l.launcher = parent_of(l.process);
  }
  return l;
}

}  // namespace detail

namespace {

[[noreturn]] void end(detail::Launched const& launched) {
  Error const e({.code = "comm.launcher_lost",
                 .subject = text("process ", ::getpid()),
                 .found = text("its launcher, process ", launched.launcher, ", is gone"),
                 .expected = "mpirun, or the daemon that started this rank, outlives it",
                 .fix = "start the same command again: a training run goes on from its last checkpoint"});
  // Not through the log: its lock may be held by a thread that waits. Who read the pipe may be gone too.
  auto const message = text(e.what(), "\n");
  [[maybe_unused]] auto const written = ::write(STDERR_FILENO, message.data(), message.size());
  ::_exit(static_cast<int>(e.exit_code()));
}

}  // namespace

LauncherWatch::LauncherWatch(std::chrono::milliseconds period) {
  auto const launched = detail::find_launched();
  if (launched.process == 0) return;
  // A new thread inherits the mask: signals stay with the threads that expect them, and SIGPIPE kills nobody here.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, launched, period] {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, period, [this] { return stop_; })) {
      if (detail::parent_of(launched.process) != launched.launcher) end(launched);
    }
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LauncherWatch::~LauncherWatch() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard const lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

}  // namespace lamina::comm
