#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace lamina::comm {

/// While it lives, this rank does not outlive its launcher: when mpirun, its daemon on this node or srun's step daemon
/// was killed, nobody forwards output and signals any more or tells the ranks that a peer is gone, and they would wait
/// for each other for ever (Open MPI's library mostly ends them by itself; not all do). The process then prints
/// "comm.launcher_lost" and ends at once with exit code 8; files are safe, as they are when a rank is killed. Does
/// nothing in a process that no launcher started.
///
/// A thread of its own looks once in a `period`, because every other thread of a rank may be waiting.
class LauncherWatch {
 public:
  explicit LauncherWatch(std::chrono::milliseconds period = std::chrono::seconds(1));
  ~LauncherWatch();
  LauncherWatch(LauncherWatch const&) = delete;
  LauncherWatch& operator=(LauncherWatch const&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace lamina::comm
