#include "lamina/plan/plan.hpp"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "detail/command.hpp"
#include "lamina/base/hash.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/graph/graph.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/plan/levers.hpp"
#include "lamina/plan/predict.hpp"
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

plan::Machine machine_of(config::RunConfig const& config) {
  auto const compute = config.precision.compute == "bf16" ? DType::bf16 : DType::f32;
  return {.threads = static_cast<int>(std::max<std::int64_t>(1, config.device.threads)),
          .memory_bytes = config.memory.limit,
          .packs_weights = kernels::wants_packed_weights(compute)};
}

ExitCode fit_run(config::RunConfig const& config, plan::Again const& again, Options const& o) {
  auto const limit = parse_bytes(o.fit);
  auto const fit = plan::fit(config, again, limit);
  if (!o.json) {
    std::fputs(plan::to_text(fit, limit).c_str(), stdout);
    return ExitCode::ok;
  }
  nlohmann::ordered_json result{{"ranks", o.ranks},
                                {"limit_bytes", limit},
                                {"changes", fit.changes},
                                {"peak_bytes", fit.peak_bytes},
                                {"predicted_step_s", static_cast<double>(fit.step_ns) * 1e-9}};
  if (fit.changes.empty()) result["largest_micro"] = fit.largest_micro;
  std::printf("%s\n", result.dump(2).c_str());
  return ExitCode::ok;
}

/// Rows as objects with the columns' names as keys; numbers where all of a cell is one.
nlohmann::ordered_json rows_of(plan::Table const& table) {
  auto rows = nlohmann::ordered_json::array();
  for (std::size_t r = 1; r < table.size(); ++r) {
    nlohmann::ordered_json row;
    for (std::size_t c = 0; c < table[r].size(); ++c) {
      auto key = table[0][c];
      std::ranges::replace(key, ' ', '_');
      auto const& cell = table[r][c];
      bool const is_number = !cell.empty() && cell.size() < 18 && key != "ranks" &&
                             cell.find_first_not_of("0123456789") == std::string::npos;
      row[key] = is_number ? nlohmann::ordered_json(std::stoll(cell)) : nlohmann::ordered_json(cell);
    }
    rows.push_back(row);
  }
  return rows;
}

/// What is text for people as a document: its lines.
void print_lines(char const* name, std::string const& content, bool json) {
  if (!json) return void(std::fputs(content.c_str(), stdout));
  auto lines = split(trim(content), '\n');
  std::printf("%s\n", nlohmann::ordered_json{{name, lines}}.dump(2).c_str());
}

/// The one JSON document; with `--print memory` also what other settings would need.
nlohmann::ordered_json describe(plan::Plan const& plan, config::RunConfig const& config, plan::Graphs const& graphs,
                                plan::Again const& again, Options const& o) {
  auto const set = plan::lower(plan, static_cast<int>(o.rank));
  nlohmann::ordered_json programs = nlohmann::ordered_json::array();
  for (auto const& p : set.shape->programs) programs.push_back({{"name", p.name}, {"steps", p.steps.size()}});
  auto const predicted = plan::predict(plan, plan::assumed_machine(plan));
  std::int64_t parameters = 0;
  for (int const id : graphs.train.parameters()) parameters += graphs.train.value(id).spec.count();
  nlohmann::ordered_json result{{"ranks", o.ranks},
                                {"dp", config.mesh.dp},
                                {"tp", config.mesh.tp},
                                {"pp", config.mesh.pp},
                                {"micro_batches", config::micro_batches(config)},
                                {"parameters", parameters},
                                {"peak_bytes", plan::peak_bytes(plan)},
                                {"predicted_step_s", static_cast<double>(predicted.step_ns) * 1e-9},
                                {"predicted_naive_step_s", static_cast<double>(predicted.naive_ns) * 1e-9},
                                {"predicted_bubble", predicted.bubble},
                                {"plan_hash", hex(plan::hash(plan))},
                                {"verified", true},
                                {"programs", programs},
                                {"layers", rows_of(plan::layer_table(plan))},
                                {"groups", rows_of(plan::group_table(plan))}};
  if (o.print == "memory" && plan::is_cheap_again(plan)) {
    for (auto const& l : plan::levers(config, again)) {
      nlohmann::ordered_json row{{"setting", l.setting}};
      if (l.refused.empty()) {
        row["peak_bytes"] = l.peak_bytes;
        row["predicted_step_s"] = static_cast<double>(l.step_ns) * 1e-9;
      } else {
        row["refused"] = l.refused;
      }
      result["settings"].push_back(row);
    }
  }
  return result;
}

ExitCode plan_run(Program const& program, Options const& o) {
  auto const config = load_here(program, o.file, o.ranks);
  if (o.print == "config") {
    print_lines("config", config::print(config, program.custom_models()), o.json);
    return ExitCode::ok;
  }
  auto const graphs = train::build_graphs(config, plan::Purpose::train, program.registered);
  if (o.print == "graph") {
    print_lines("graph", graph::to_text(graphs.train), o.json);
    return ExitCode::ok;
  }
  if (o.rank >= o.ranks) {
    fail({.code = "app.plan.rank",
          .subject = "lamina plan --rank",
          .found = text("rank ", o.rank, " of ", o.ranks),
          .expected = text("0 to ", o.ranks - 1),
          .fix = "correct --rank or --ranks"});
  }
  plan::Again const again{
      .world = o.ranks,
      .graphs = [&](auto const& c) { return train::build_graphs(c, plan::Purpose::train, program.registered); },
      .machine = machine_of};
  warn_of_no_effect(config);
  if (config.device.threads == 0) {
    log::info("planned for 1 thread a rank; a run takes the cores it has, and a little more memory for each: set ",
              "device.threads to plan for them");
  }
  if (!o.fit.empty()) return fit_run(config, again, o);
  auto const plan = plan::make(graphs, config, o.ranks, machine_of(config), plan::Purpose::train);
  if (o.print == "program") {
    print_lines("program", program::print(plan::lower(*plan, static_cast<int>(o.rank))), o.json);
  } else if (o.print == "schedule") {
    print_lines("schedule", plan::schedule_text(*plan), o.json);
  } else if (o.json) {
    std::printf("%s\n", describe(*plan, config, graphs, again, o).dump(2).c_str());
  } else if (o.print == "memory") {
    std::fputs(plan::memory_text(*plan, static_cast<int>(o.rank)).c_str(), stdout);
    std::fputs(plan::levers_text(*plan, config, again).c_str(), stdout);
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
      .check(one_of({"config", "graph", "plan", "program", "memory", "schedule"}));
  command.add_option("--fit", o->fit, "Smallest change with which a rank needs no more than this, such as 8GiB");
  command.add_flag("--json", o->json, "Print one JSON document");
  command.footer("Example:  lamina plan run.toml --ranks 1024 --print memory --rank 17");
  command.callback([o, &program] { program.action = [o, &program] { return plan_run(program, *o); }; });
}

}  // namespace lamina::apps
