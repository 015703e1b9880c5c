#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "detail/command.hpp"
#include "detail/launch.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/data/paths.hpp"
#include "lamina/kernels/runtime.hpp"
#include "lamina/train/agree.hpp"
#include "lamina/train/session.hpp"
#include "lamina/train/signals.hpp"

namespace lamina::apps {
namespace {

int numa_domains() {
  int domains = 0;
  while (std::filesystem::exists(text("/sys/devices/system/node/node", domains))) ++domains;
  return std::max(1, domains);
}

/// As many replicas as have a NUMA domain for each of their ranks; one at least.
int automatic_ranks(config::Mesh const& mesh) {
  auto const one = ranks_of(mesh);
  auto const all = mesh.dp > 0 ? one : std::max<std::int64_t>(1, numa_domains() / one) * one;
  return static_cast<int>(std::min<std::int64_t>(all, std::numeric_limits<int>::max()));
}

[[noreturn]] void refuse(std::string found, std::string expected, std::string fix) {
  fail({.code = "app.ranks.refused",
        .subject = "--ranks",
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = std::move(fix)});
}

/// The counterpart of torchrun: starts this command again under mpirun.
[[noreturn]] void execute_under_mpirun(Program const& program, Start const& start, int cores) {
  int const count = start.ranks == "auto" ? automatic_ranks(start.mesh) : std::atoi(start.ranks.c_str());
  if (count < 1 || (start.ranks != "auto" && start.ranks != std::to_string(count)))
    refuse(text("'", start.ranks, "'"), "a positive number, or auto", "correct --ranks");
  // The command without --ranks.
  std::vector<std::string> own = {own_path()};
  for (std::size_t i = 1; i < program.command_line.size(); ++i) {
    auto const& argument = program.command_line[i];
    if (argument == "--ranks") {
      ++i;
    } else if (!argument.starts_with("--ranks=")) {
      own.push_back(argument);
    }
  }
  auto command = under_mpirun(count, cores, own);
  if (train::StopSignals::received() != 0) {  // mpirun would not know of it
    log::info("stopped by a signal before a rank was started; start again with the same command");
    std::exit(static_cast<int>(ExitCode::stopped_early));
  }
  refuse(execute(std::move(command)), "Open MPI's mpirun in PATH", "install it (apps/setup), or load your MPI module");
}

}  // namespace

std::vector<config::CustomModel> Program::custom_models() const {
  std::vector<config::CustomModel> custom;
  for (auto const& r : registered) custom.push_back({.kind = r.kind, .keys = r.keys});
  return custom;
}

void RunFile::add_to(Command const& command, char const* what) {
  command.add_option("RUN", path, what).required();
  command.add_option("--set", overrides, "Override a key: section.key=value (repeatable)").repeated();
}

std::int64_t ranks_of(config::Mesh const& mesh) { return std::max<std::int64_t>(1, mesh.dp) * mesh.tp * mesh.pp; }

Start peek_start(Program const& program, RunFile const& file, std::string ranks) {
  try {
    auto const config = config::load(file.path, file.overrides, program.custom_models());
    return {.ranks = std::move(ranks), .threads = config.device.threads, .mesh = config.mesh};
  } catch (Error const&) {
    return {.ranks = std::move(ranks), .threads = 0, .mesh = {}};  // rank 0 reports what is wrong with it, once
  }
}

Parallel::Parallel(Program const& program, Start const& start) {
  train::require_instruction_set();
  if (!start.ranks.empty()) execute_under_mpirun(program, start, train::find_threads(0).cores);
  threads = train::find_threads(start.threads);
  train::reexecute_with_threads(threads, program.arguments);
  watch.emplace();
  world = comm::Communicator::world();
  std::vector<int> all(static_cast<std::size_t>(world.size()));
  std::iota(all.begin(), all.end(), 0);
  exits = world.subgroup(all, "exit", 0);
  log::set_rank(world.rank(), world.size());
}

ExitCode run_parallel(Program const& program, Start const& start, std::function<ExitCode(Parallel&)> const& action) {
  Parallel parallel(program, start);
  auto code = ExitCode::ok;
  std::string message;
  try {
    parallel.seen = train::find_world(parallel.world, parallel.threads);
    log::info(train::describe(parallel.seen, parallel.threads));
    if (parallel.world.rank() == 0) {
      for (auto const& warning : parallel.seen.warnings) log::warn(warning);
    }
    kernels::Runtime const runtime(parallel.threads.count);
    code = action(parallel);
  } catch (Error const& e) {
    code = e.exit_code();
    message = e.what();
  } catch (std::exception const& e) {
    auto const error = train::as_error(e);
    code = error.exit_code();
    message = error.what();
  }
  return train::leave(parallel.exits, code, message);
}

namespace {

/// So that what is written into the run directory means the same from every working directory.
void make_paths_absolute(config::RunConfig& config) {
  auto const fix = [](std::string& path) { path = data::absolute_path(path); };
  fix(config.run.dir);
  for (auto* list : {&config.data.train, &config.data.valid}) {
    for (auto& pattern : *list) pattern = data::absolute_pattern(pattern);
  }
  if (config.data.tokenizer != "bytes") fix(config.data.tokenizer);
  if (config.model.init != "random") fix(config.model.init);
  if (!config.pipeline.file.empty()) fix(config.pipeline.file);
  // The run file, which is TOML, is handed on and stored with these paths.
  auto const paths =
      text(config.run.dir, join(config.data.train), join(config.data.valid), config.model.init, config.pipeline.file);
  if (nlohmann::json(paths).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore) ==
      nlohmann::json(paths).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) {
    return;
  }
  fail({.code = "app.paths.utf8",
        .subject = text("the absolute paths of the run, such as ", config.run.dir),
        .found = "a name that is not UTF-8",
        .expected = "paths in UTF-8: the resolved run file and the checkpoints hold them",
        .fix = "rename the directory, or start from another working directory"});
}

}  // namespace

config::RunConfig load_here(Program const& program, RunFile const& file, std::int64_t ranks, config::Work work) {
  auto config = config::load(file.path, file.overrides, program.custom_models());
  make_paths_absolute(config);
  train::complete_model(config);
  config::resolve(config, ranks, work);
  return config;
}

void warn_of_no_effect(config::RunConfig const& config) {
  auto const& p = config.pipeline;
  if (p.chunks > p.stages_per_coordinate()) {
    log::warn("pipeline.chunks = ", p.chunks,
              " has no effect: it is for schedule = \"interleaved\" or \"file\", and this is \"", p.schedule, '"');
  } else if (p.schedule == "interleaved" && p.chunks == 1 && p.stages.automatic()) {
    log::warn("schedule = \"interleaved\" with pipeline.chunks = 1 is 1f1b: give a coordinate 2 chunks or more");
  }
}

namespace {

/// A checkpoint can be read on any mesh, so that one which does not fit the ranks is replaced; not in silence where the
/// command line asks for it.
void warn_of_another_mesh(config::Mesh const& mesh, RunFile const& file) {
  std::map<std::string, std::string> asked;  // the last one counts
  for (auto const& o : file.overrides) {
    if (auto const at = o.find('='); at != o.npos) asked[std::string(trim(o.substr(0, at)))] = trim(o.substr(at + 1));
  }
  for (auto const& [key, size] : {std::pair{"mesh.dp", mesh.dp}, {"mesh.tp", mesh.tp}, {"mesh.pp", mesh.pp}}) {
    auto const it = asked.find(key);
    if (it == asked.end() || it->second == "auto" || it->second == "\"auto\"" || it->second == text(size)) continue;
    log::warn(key, " = ", it->second, " does not fit ", mesh.dp * mesh.tp * mesh.pp,
              mesh.dp * mesh.tp * mesh.pp == 1 ? " rank" : " ranks", ": taken are mesh.dp = ", mesh.dp,
              ", mesh.tp = ", mesh.tp, ", mesh.pp = ", mesh.pp, "; start as many ranks as the mesh has (--ranks)");
    return;
  }
}

}  // namespace

config::RunConfig load_everywhere(Program const& program, RunFile const& file, comm::Communicator const& world,
                                  config::Work work) {
  std::string resolved;
  config::RunConfig config;
  train::on_lead(world, [&] {
    config = load_here(program, file, world.size(), work);
    if (work == config::Work::training) warn_of_no_effect(config);
    if (work != config::Work::training) warn_of_another_mesh(config.mesh, file);
    resolved = config::print(config, program.custom_models());
  });
  world.broadcast_bytes(resolved, 0);
  if (world.rank() == 0) return config;
  config = config::parse(resolved, "resolved run file", {}, program.custom_models());
  config::resolve(config, world.size(), work);
  return config;
}

void use_run_directory(RunFile& file) {
  if (!std::filesystem::is_directory(file.path)) return;
  // The resolved file holds the replicas it was trained with, and where: any number can read the checkpoint, and the
  // directory may have been moved.
  if (!std::filesystem::exists(file.path + "/config.toml")) {
    fail({.code = "app.run_directory.none",
          .subject = text("'", file.path, "'"),
          .found = "a directory without config.toml",
          .expected = "a run directory, as lamina train makes it, or a run file",
          .fix = "name the run.dir of the run file, or the run file itself"});
  }
  auto const directory = std::filesystem::absolute(file.path).lexically_normal().string();
  file.overrides.insert(file.overrides.begin(), {"mesh.dp=auto", "run.dir=" + directory});
  file.path += "/config.toml";
}

}  // namespace lamina::apps
