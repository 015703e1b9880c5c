#include "lamina/train/train.hpp"

#include "detail/command.hpp"
#include "lamina/base/log.hpp"
#include "lamina/train/signals.hpp"

namespace lamina::apps {

/// lamina train run.toml [--ranks N]: under mpirun or srun, or alone.
void add_train(Command const& app, Program& program) {
  struct Options {
    RunFile file;
    std::string ranks;
    std::int64_t steps = 0;
    double max_hours = 0;
    bool fresh = false, no_checkpoint = false;
  };
  auto o = std::make_shared<Options>();
  auto const command = app.add_subcommand("train", "Train a run; starting it again resumes it");
  o->file.add_to(command);
  command.add_option("--steps", o->steps, "Stop after this step with a checkpoint; bends no schedule")
      .check(above_zero());
  command.add_flag("--fresh", o->fresh, "Move an earlier run of the same directory aside and start anew");
  command.add_flag("--no-checkpoint", o->no_checkpoint, "Write no checkpoint, not even the last: for measurements");
  command.add_option("--max-hours", o->max_hours, "Checkpoint and exit with 75 after this time").check(above_zero());
  command.add_option("--ranks", o->ranks, "Start this many ranks under mpirun, or 'auto'");
  command.footer(
      "Example:  lamina train run.toml --ranks 2 --set optimizer.lr=3e-4\n"
      "          srun --mpi=pmix lamina train run.toml");
  command.callback([o, &program] {
    program.action = [o, &program] {
      train::StopSignals const signals;  // one that comes while MPI starts stops the run in good order too
      return run_parallel(program, peek_start(program, o->file, o->ranks), [&](Parallel& p) {
        auto const config = load_everywhere(program, o->file, p.world);
        return train::train(config, p.world,
                            {.stop_after_step = o->steps,
                             .fresh = o->fresh,
                             .checkpoints = !o->no_checkpoint,
                             .max_hours = o->max_hours,
                             .threads = p.threads.count,
                             .command_line = program.command_line,
                             .hosts = p.seen.hosts,
                             .registered = program.registered});
      });
    };
  });
}

}  // namespace lamina::apps
