#include "lamina/plan/plan.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "detail/command.hpp"
#include "lamina/base/hash.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/graph/graph.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/program/program.hpp"
#include "lamina/train/session.hpp"

namespace lamina::apps {
namespace {

struct Options {
  RunFile file;
  std::int64_t ranks = 1, rank = 0;
  std::string print, fit;
  bool json = false;
};

void refuse_later(Options const& o) {
  if (o.fit.empty()) return;
  fail({.code = "app.plan.fit",
        .subject = "lamina plan --fit",
        .found = text("--fit ", o.fit),
        .expected = "not available yet",
        .fix =
            "set memory.limit and read --print memory: a plan above the limit is refused with the biggest consumers"});
}

ExitCode plan_run(Program const& program, Options const& o) {
  refuse_later(o);
  auto const config = load_here(program, o.file, o.ranks);
  if (o.print == "config") {
    std::fputs(config::print(config, program.custom_models()).c_str(), stdout);
    return ExitCode::ok;
  }
  auto const graphs = train::build_graphs(config, plan::Purpose::train, program.registered);
  if (o.print == "graph") {
    std::fputs(graph::to_text(graphs.train).c_str(), stdout);
    return ExitCode::ok;
  }
  if (o.rank >= o.ranks) {
    fail({.code = "app.plan.rank",
          .subject = "lamina plan --rank",
          .found = text("rank ", o.rank, " of ", o.ranks),
          .expected = text("0 to ", o.ranks - 1),
          .fix = "correct --rank or --ranks"});
  }
  plan::Machine const machine{
      .threads = static_cast<int>(std::max<std::int64_t>(1, config.device.threads)),
      .memory_bytes = config.memory.limit,
      .packs_weights = kernels::wants_packed_weights(config.precision.compute == "bf16" ? DType::bf16 : DType::f32)};
  auto const plan = plan::make(graphs, config, o.ranks, machine, plan::Purpose::train);
  if (o.json) {
    auto const set = plan::lower(*plan, static_cast<int>(o.rank));
    nlohmann::ordered_json programs = nlohmann::ordered_json::array();
    for (auto const& p : set.shape->programs) programs.push_back({{"name", p.name}, {"steps", p.steps.size()}});
    nlohmann::ordered_json const result{{"ranks", o.ranks},
                                        {"dp", config.mesh.dp},
                                        {"tp", config.mesh.tp},
                                        {"pp", config.mesh.pp},
                                        {"micro_batches", config::micro_batches(config)},
                                        {"peak_bytes", plan::peak_bytes(*plan)},
                                        {"plan_hash", hex(plan::hash(*plan))},
                                        {"verified", true},
                                        {"programs", programs}};
    std::printf("%s\n", result.dump(2).c_str());
  } else if (o.print == "program") {
    std::fputs(program::print(plan::lower(*plan, static_cast<int>(o.rank))).c_str(), stdout);
  } else if (o.print == "memory") {
    std::fputs(plan::memory_text(*plan, static_cast<int>(o.rank)).c_str(), stdout);
  } else {
    std::fputs(plan::to_text(*plan).c_str(), stdout);
  }
  return ExitCode::ok;
}

}  // namespace

/// lamina plan run.toml --ranks 1024 [--rank 17]: no GPU, no MPI, seconds. A plan that is printed has been verified.
void add_plan(Command const& app, Program& program) {
  auto o = std::make_shared<Options>();
  auto const command = app.add_subcommand("plan", "Check a run and print what it will do; no MPI, no GPU, seconds");
  o->file.add_to(command);
  command.add_option("--ranks", o->ranks, "World size to plan for").check(in_range(1, 65536)).capture_default_str();
  command.add_option("--rank", o->rank, "Rank whose program or memory is printed")
      .check(not_negative())
      .capture_default_str();
  command.add_option("--print", o->print, "What to print")
      .check(one_of({"config", "graph", "plan", "program", "memory"}));
  command.add_option("--fit", o->fit, "Largest setting that fits into this memory");
  command.add_flag("--json", o->json, "Print one JSON document");
  command.footer("Example:  lamina plan run.toml --ranks 1024 --print memory --rank 17");
  command.callback([o, &program] { program.action = [o, &program] { return plan_run(program, *o); }; });
}

}  // namespace lamina::apps
