#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "detail/command.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/train/evaluate.hpp"

namespace lamina::apps {
namespace {

struct Options {
  RunFile file;
  std::int64_t step = -1;
  std::vector<std::string> data;
  std::string ranks;
  bool json = false;
};

ExitCode evaluate_run(Program const& program, Options const& o, Parallel& p) {
  auto config = load_everywhere(program, o.file, p.world, config::Work::evaluation);
  if (!o.data.empty()) config.data.valid = o.data;
  train::Session session(
      config, p.world,
      {.purpose = plan::Purpose::eval, .registered = program.registered, .generate = {}, .threads = p.threads.count});
  auto const found = session.load(config.run.dir, o.step);
  if (!found.any) {
    if (config.model.init == "random") {
      fail({.code = "checkpoint.load.none",
            .subject = text("run directory '", config.run.dir, "'"),
            .found = "no checkpoint",
            .expected = "a checkpoint, or model.init with weights",
            .fix = "train first: lamina train <run file>"});
    }
    session.initialise();
  }
  auto const sources = train::open_data(config);
  auto const& source = sources.valid ? *sources.valid : *sources.train;
  auto const e = train::evaluate(session, source, 0);
  if (p.world.rank() != 0) return ExitCode::ok;
  bool const has_perplexity = config.model.kind != "layers";  // of a distribution over words
  if (o.json) {
    nlohmann::ordered_json result{{"step", found.any ? found.state.step : 0}, {"loss", e.loss}};
    if (has_perplexity) result["perplexity"] = std::exp(e.loss);
    if (e.accuracy) result["accuracy"] = *e.accuracy;
    result["mesh"] = {{"dp", config.mesh.dp}, {"tp", config.mesh.tp}, {"pp", config.mesh.pp}};
    result["targets"] = e.targets;
    result["samples"] = e.samples;
    result["seconds"] = e.seconds;
    result["data"] = sources.valid ? "valid" : "train";
    std::printf("%s\n", result.dump(2).c_str());
  } else {
    std::printf("step %lld  %s loss %.6f", static_cast<long long>(found.any ? found.state.step : 0),
                sources.valid ? "valid" : "train", e.loss);
    if (has_perplexity) std::printf("  perplexity %.4f", std::exp(e.loss));
    if (e.accuracy) std::printf("  accuracy %.4f", *e.accuracy);
    std::printf("  over %lld targets in %.1f s\n", static_cast<long long>(e.targets), e.seconds);
  }
  return ExitCode::ok;
}

}  // namespace

/// lamina eval RUN_DIR|RUN.toml: mean loss over the whole validation set.
void add_eval(Command const& app, Program& program) {
  auto o = std::make_shared<Options>();
  auto const command = app.add_subcommand("eval", "Evaluate a checkpoint over the whole validation set");
  o->file.add_to(command, "Run directory, or run file (.toml)");
  command.add_option("--step", o->step, "Checkpoint of this step instead of the newest").check(not_negative());
  command.add_option("--data", o->data, "Evaluate on these files instead of data.valid");
  command.add_option("--ranks", o->ranks, "Start this many ranks under mpirun, or 'auto'");
  command.add_flag("--json", o->json, "Print one JSON document");
  command.footer("Example:  lamina eval runs/gpt --json");
  command.callback([o, &program] {
    program.action = [o, &program] {
      use_run_directory(o->file);
      return run_parallel(program, peek_start(program, o->file, o->ranks),
                          [&](Parallel& p) { return evaluate_run(program, *o, p); });
    };
  });
}

}  // namespace lamina::apps
