#include "detail/launch.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/train/signals.hpp"

namespace lamina::apps {
namespace {

std::vector<char*> raw(std::vector<std::string>& command) {
  std::vector<char*> words;
  for (auto& s : command) words.push_back(s.data());
  words.push_back(nullptr);
  return words;
}

}  // namespace

std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

std::vector<std::string> under_mpirun(int ranks, int cores, std::vector<std::string> const& command) {
  auto const refuse = [](std::string found, std::string expected, std::string fix) {
    fail({.code = "app.ranks.refused",
          .subject = "--ranks",
          .found = std::move(found),
          .expected = std::move(expected),
          .fix = std::move(fix)});
  };
  if (std::getenv("OMPI_COMM_WORLD_SIZE")) {
    refuse("ranks that mpirun has started already", "one launcher: --ranks, or mpirun in front of the command",
           "leave one of the two out");
  }
  if (std::getenv("SLURM_STEP_ID") || std::getenv("SLURM_JOB_ID")) {
    refuse("a Slurm allocation", "srun starts the ranks there",
           text("srun --mpi=pmix -n ", ranks, " ", join(command, " ")));
  }
  std::vector<std::string> all = {"mpirun", "-n", std::to_string(ranks)};
  if (::geteuid() == 0) all.emplace_back("--allow-run-as-root");
  if (cores >= ranks) {
    for (auto const* s : {"--bind-to", "core", "--map-by"}) all.emplace_back(s);
    all.push_back(text("slot:PE=", cores / ranks));
  } else {
    for (auto const* s : {"--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"})
      all.emplace_back(s);
  }
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

std::string execute(std::vector<std::string> command) {
  ::execvp(command.front().c_str(), raw(command).data());
  return text(command.front(), " could not be started: ", std::strerror(errno));
}

int run_command(std::vector<std::string> command, std::string const& output) {
  constexpr int not_started = 127;
  auto const words = raw(command);
  auto const child = ::fork();
  if (child < 0) return not_started;
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    int const in = ::open("/dev/null", O_RDONLY), out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (in < 0 || out < 0 || ::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(not_started);
    ::execvp(words[0], words.data());
    ::_exit(not_started);
  }
  int status = 0;
  bool told = false;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (!told && train::StopSignals::received() != 0) told = ::kill(child, SIGTERM) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace lamina::apps
