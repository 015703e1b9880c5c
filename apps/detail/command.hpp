#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "detail/arguments.hpp"
#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"
#include "lamina/comm/launcher_watch.hpp"
#include "lamina/config/run_config.hpp"
#include "lamina/models/models.hpp"
#include "lamina/train/environment.hpp"

/// What the subcommands share. One file per subcommand adds it to the CLI and sets `Program::action`.
namespace lamina::apps {

/// State of one invocation. Parsing only fills options and picks the action; nothing runs before all arguments were
/// checked.
struct Program {
  char** arguments = nullptr;
  std::vector<std::string> command_line;
  std::vector<models::Registration> registered;
  std::function<ExitCode()> action;

  std::vector<config::CustomModel> custom_models() const;
};

/// RUN.toml and --set, which most commands take.
struct RunFile {
  std::string path;
  std::vector<std::string> overrides;

  void add_to(Command const& command, char const* what = "Run file (.toml)");
};

/// How a parallel program starts.
struct Start {
  std::string ranks;         ///< "" (as it was started), a number, or "auto"
  std::int64_t threads = 0;  ///< device.threads; 0: the cores of the binding
  config::Mesh mesh;         ///< for "auto": its ranks; where dp is left open, about one rank per NUMA domain
};
/// With device.threads and the mesh of a run file, which may be broken or absent on this node: the defaults then.
Start peek_start(Program const& program, RunFile const& file, std::string ranks);
/// The ranks that a mesh makes; those of one replica where dp is "auto".
std::int64_t ranks_of(config::Mesh const& mesh);

/// A parallel program between start and exit: instruction set, threads, MPI, Kokkos, the start line.
class Parallel {
 public:
  /// May execute the program again: under mpirun, or with other OMP variables. Collective from then on.
  Parallel(Program const& program, Start const& start);

  std::optional<comm::LauncherWatch> watch;  ///< from before MPI_Init on
  comm::Communicator world;
  comm::Communicator exits;  ///< for train::leave alone
  train::Threads threads;
  train::World seen;
};

/// Runs a collective action so that every error ends all ranks with one message and the right exit code.
ExitCode run_parallel(Program const& program, Start const& start, std::function<ExitCode(Parallel&)> const& action);

/// Rank 0 reads the run file and completes it; the resolved text goes to everyone. Collective.
config::RunConfig load_everywhere(Program const& program, RunFile const& file, comm::Communicator const& world,
                                  config::Work work = config::Work::training);
/// The same for one process and a given world size.
config::RunConfig load_here(Program const& program, RunFile const& file, std::int64_t ranks,
                            config::Work work = config::Work::training);
/// Of settings that this run does not use, where a user could think that it does.
void warn_of_no_effect(config::RunConfig const& config);
/// A run directory in place of a run file stands for DIR/config.toml on as many replicas as there are ranks.
void use_run_directory(RunFile& file);

void add_new(Command const& app, Program& program);
void add_train(Command const& app, Program& program);
void add_plan(Command const& app, Program& program);
void add_sweep(Command const& app, Program& program);
void add_eval(Command const& app, Program& program);
void add_generate(Command const& app, Program& program);
void add_checkpoint(Command const& app, Program& program);
void add_data(Command const& app, Program& program);
void add_bench(Command const& app, Program& program);
void add_doctor(Command const& app, Program& program);
void add_completion(Command const& app, Program& program);

}  // namespace lamina::apps
