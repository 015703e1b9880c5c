#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lamina/base/error.hpp"

namespace lamina::train {

/// The directory of a run: who may write it, and its small files. Rank 0 only.
class RunDirectory {
 public:
  /// Creates the directory if needed and locks it for this process (the lock dies with it, also by SIGKILL).
  /// @throws Error "train.run_dir.locked" (exit 4) naming the host and process of the other job, "io.run_dir.*" (exit
  /// 7) when it cannot be made or written.
  explicit RunDirectory(std::string path);
  ~RunDirectory();
  RunDirectory(RunDirectory const&) = delete;
  RunDirectory& operator=(RunDirectory const&) = delete;

  std::string const& path() const { return path_; }
  /// Whether it holds an earlier start of the run.
  bool existed() const { return existed_; }
  /// Moves an earlier run to <dir>.1 (or the next free number), makes the directory again and locks it. Nothing is ever
  /// deleted. Returns where to; "" if there was none.
  /// @throws as the constructor.
  std::string move_aside();

  /// config.toml, written atomically.
  void write_config(std::string const& text) const;
  /// record.json: command line, versions, build, git state, hosts, Slurm variables, plan hash. One entry per start,
  /// appended.
  void write_record(std::vector<std::string> const& command_line, std::vector<std::string> const& hosts,
                    std::string const& plan_hash) const;
  /// status.json, rewritten atomically: state is running, done, stopped or failed.
  void write_status(std::string const& state, ExitCode code, std::string const& reason, std::int64_t step,
                    int rank) const;

 private:
  void create_and_lock();

  std::string path_;
  bool existed_ = false;
  int lock_ = -1;
};

/// What RunDirectory::write_status does, for a rank that has not opened the directory: when rank 0 still hangs in a
/// collective that this rank has left with an error, nobody else can say so. Leaves a status that is no longer
/// "running" as it is. @param run_dir absolute.
void write_failure(std::string const& run_dir, ExitCode code, std::string const& reason, std::int64_t step, int rank);

/// Replaces a file by temporary + fsync + rename + fsync of the directory.
/// @throws Error "io.write.<call>" (exit 7).
void write_atomically(std::string const& path, std::string const& content);

}  // namespace lamina::train
