#pragma once

#include <string>
#include <vector>

/// How this program starts ranks, and other commands.
namespace lamina::apps {

/// The program that is running, as a path.
std::string own_path();

/// `command` with mpirun in front, mapped so that the ranks share this machine's `cores`.
/// @throws Error "app.ranks.refused" where mpirun is not the way: among ranks that a launcher has started, and in a
/// Slurm allocation, with the srun line.
std::vector<std::string> under_mpirun(int ranks, int cores, std::vector<std::string> const& command);

/// Replaces this process; returns what went wrong, in words, if it could not.
std::string execute(std::vector<std::string> command);

/// Runs a command without standard input, standard output and error going to a file, and waits for it. It ends with
/// this process, and with SIGTERM when this process is asked to stop (train::StopSignals).
/// @returns its exit code; 128 + the signal that ended it; 127 when it could not be started.
int run_command(std::vector<std::string> command, std::string const& output);

}  // namespace lamina::apps
