#include "detail/sweep.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "detail/command.hpp"
#include "detail/launch.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/plan/bytes_moved.hpp"
#include "lamina/plan/predict.hpp"
#include "lamina/train/session.hpp"
#include "lamina/train/signals.hpp"

namespace lamina::apps {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t usual_steps = 5;

struct Options {
  RunFile file;
  std::vector<std::string> over;
  std::int64_t steps = 0, warmup = 1, ranks = 0;
  bool plan_only = false, json = false;
};

struct Refusal {
  std::string code, found, expected, fix;
};

/// One combination of values: what its plan says, and what its run measured.
struct Row {
  std::vector<std::string> values, overrides;
  config::RunConfig config;
  std::int64_t ranks = 0, peak_bytes = 0, bytes_moved = 0, samples = 0;
  plan::Prediction predicted;

  std::vector<double> times;  ///< seconds of the timed steps
  double step_s = 0, tokens_per_s = 0, exposed_s = 0;
  std::int64_t resident_bytes = 0;
  std::optional<Refusal> refused;
};

/// Removes what it names.
struct TemporaryDirectory {
  TemporaryDirectory() {
    auto pattern = (std::filesystem::temp_directory_path() / "lamina-sweep-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      fail({.code = "io.sweep.directory",
            .subject = text("a temporary directory ", pattern),
            .found = "it cannot be made",
            .expected = "a directory for the runs of the sweep",
            .fix = "set TMPDIR to a directory with room, or take --plan-only"});
    }
    path = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code left_behind;  // nothing to be done about it
    std::filesystem::remove_all(path, left_behind);
  }
  TemporaryDirectory(TemporaryDirectory const&) = delete;
  TemporaryDirectory& operator=(TemporaryDirectory const&) = delete;
  std::string path;
};

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::ranges::sort(v);
  auto const n = v.size();
  return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

std::string name_of(Row const& row, std::vector<Over> const& overs) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < overs.size(); ++i) parts.push_back(text(overs[i].key, ": ", row.values[i]));
  return join(parts, ", ");
}

void plan_row(Program const& program, Options const& o, Row& row) {
  RunFile file = o.file;
  file.overrides.insert(file.overrides.end(), row.overrides.begin(), row.overrides.end());
  row.ranks = o.ranks;
  if (row.ranks == 0) row.ranks = ranks_of(config::load(file.path, file.overrides, program.custom_models()).mesh);
  row.config = load_here(program, file, row.ranks);
  auto const& c = row.config;
  auto const graphs = train::build_graphs(c, plan::Purpose::train, program.registered);
  auto const cores = train::find_threads(0).cores;
  auto const threads = c.device.threads > 0 ? c.device.threads : std::max<std::int64_t>(1, cores / row.ranks);
  plan::Machine const machine{
      .threads = static_cast<int>(threads),
      .memory_bytes = c.memory.limit,
      .packs_weights = kernels::wants_packed_weights(c.precision.compute == "bf16" ? DType::bf16 : DType::f32)};
  auto const plan = plan::make(graphs, c, row.ranks, machine, plan::Purpose::train);
  row.peak_bytes = plan::peak_bytes(*plan);
  row.bytes_moved = plan::bytes_moved(*plan);
  row.predicted = plan::predict(*plan, plan::assumed_machine(*plan));
}

/// The first error of a program's output.
Refusal refusal_in(std::string const& output, int code) {
  std::ifstream in(output);
  Refusal r{.code = text("exit code ", code), .found = "", .expected = "", .fix = ""};
  std::string line, last, *into = nullptr;
  bool begun = false;
  while (std::getline(in, line)) {
    auto words = trim(line);
    if (auto const at = line.find("error["); !begun && at != line.npos && line.find("]: ", at) != line.npos) {
      begun = true;
      r.code = line.substr(at + 6, line.find("]: ", at) - at - 6);
    } else if (begun && words.starts_with("at:")) {
      return r;
    } else if (begun) {
      for (auto const& [label, text] : {std::pair{"found:", &r.found}, {"expected:", &r.expected}, {"fix:", &r.fix}}) {
        if (!line.starts_with(std::string("  ") + label)) continue;
        into = text;
        words.remove_prefix(words.find(':') + 1);
      }
      if (into) *into += (into->empty() ? "" : " ") + std::string(trim(words));
    }
    if (!words.empty()) last = words;
  }
  if (!begun) r.found = last.empty() ? "no output" : last;
  return r;
}

/// Trains for some steps in a directory that nobody keeps, and reads what it measured.
void measure_row(Options const& o, Row& row, std::string const& directory) {
  auto const steps = o.warmup + o.steps;
  std::vector<std::string> command = {own_path(), "train", o.file.path, "--no-checkpoint", "--steps", text(steps)};
  auto overrides = o.file.overrides;
  overrides.insert(overrides.end(), row.overrides.begin(), row.overrides.end());
  for (auto const* s : {"checkpoint.every_steps=0", "checkpoint.every=0 s", "eval.every_steps=0", "log.every_steps=1",
                        "log.tensorboard=false", "log.trace_steps=[]"}) {
    overrides.emplace_back(s);
  }
  overrides.push_back("run.dir=" + directory);
  if (row.config.run.steps < steps) overrides.push_back(text("run.steps=", steps));
  for (auto const& s : overrides) command.insert(command.end(), {"--set", s});
  if (row.ranks > 1) command = under_mpirun(static_cast<int>(row.ranks), train::find_threads(0).cores, command);
  auto const output = directory + ".output";
  if (int const code = run_command(command, output); code != 0) {
    row.refused = refusal_in(output, code);
    return;
  }
  std::ifstream in(directory + "/metrics.jsonl");
  std::vector<double> speed, exposed;
  for (std::string line; std::getline(in, line);) {
    auto const m = ordered_json::parse(line);
    if (m.at("step").get<std::int64_t>() <= o.warmup) continue;
    row.times.push_back(m.at("step_s")), speed.push_back(m.at("tokens_per_s"));
    exposed.push_back(m.at("exposed_comm_s")), row.resident_bytes = m.at("peak_bytes");
  }
  row.step_s = median(row.times), row.tokens_per_s = median(speed), row.exposed_s = median(exposed);
}

/// What a plan alone says of time.
void predict_row(Row& row) {
  auto const& c = row.config;
  row.step_s = 1e-9 * static_cast<double>(row.predicted.step_ns);
  row.exposed_s = row.predicted.exposed * row.step_s;
  auto const tokens = c.batch.global * (c.model.kind == "layers" ? 1 : c.model.context);
  row.tokens_per_s = static_cast<double>(tokens) / row.step_s;
}

/// Of step times, to the first row that has one.
double ratio_of(Row const& row, std::vector<Row> const& rows) {
  auto const first = std::ranges::find_if(rows, [](Row const& r) { return !r.refused; });
  return row.step_s / first->step_s;
}

std::string number(double x, char const* format) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, format, x);
  return buffer;
}

void print_table(Options const& o, std::vector<Over> const& overs, std::vector<Row> const& rows) {
  auto const planned = std::ranges::find_if(rows, [](Row const& r) { return !r.refused; });
  bool const samples = planned != rows.end() && !planned->config.model.network.empty();
  std::vector<std::vector<std::string>> cells(1);
  for (auto const& over : overs) cells[0].push_back(over.key);
  for (auto const* title :
       {"ranks", "step", samples ? "samples/s" : "tokens/s", "ratio", "bubble", "exposed", "peak", "moved"})
    cells[0].emplace_back(title);
  for (auto const& row : rows) {
    auto& line = cells.emplace_back(row.values);
    line.push_back(row.ranks == 0 ? "-" : text(row.ranks));
    if (row.refused) continue;
    for (auto const& cell : {human_seconds(row.step_s), human_count(row.tokens_per_s),
                             number(ratio_of(row, rows), "%.2f"), number(100 * row.predicted.bubble, "%.1f %%"),
                             human_seconds(row.exposed_s), human_bytes(row.peak_bytes), human_bytes(row.bytes_moved)}) {
      line.push_back(cell);
    }
  }
  std::vector<std::size_t> width(cells[0].size());
  for (auto const& line : cells) {
    for (std::size_t c = 0; c < line.size(); ++c) width[c] = std::max(width[c], line[c].size());
  }
  for (std::size_t i = 0; i < cells.size(); ++i) {
    std::string line;
    for (std::size_t c = 0; c < cells[i].size(); ++c) {
      std::string const blanks(width[c] - cells[i][c].size(), ' ');
      line += text(c == 0 ? "" : "  ", c < overs.size() ? cells[i][c] + blanks : blanks + cells[i][c]);
    }
    if (i > 0 && rows[i - 1].refused) {
      auto const& r = *rows[i - 1].refused;
      line += text("  refused, ", r.code, ": ", r.found, r.fix.empty() ? "" : "; fix: ", r.fix);
    }
    std::printf("%s\n", line.c_str());
  }
  std::printf("\n%s; bubble: part of a step's passes in which a stage waits for another, by the plan;\n",
              o.plan_only ? "predicted from the plans, for machines as lamina plan assumes them"
                          : text("medians of ", o.steps, " steps after ", o.warmup, " of warm-up, of rank 0").c_str());
  std::printf(
      "exposed: waiting for communication in a step; peak: planned, of the fullest rank; moved: by all ranks in a "
      "step;\n"
      "ratio: of the step's time to the first row's\n");
}

void print_json(Options const& o, std::vector<Over> const& overs, std::vector<Row> const& rows) {
  auto list = ordered_json::array();
  for (auto const& row : rows) {
    ordered_json over;
    for (std::size_t i = 0; i < overs.size(); ++i) over[overs[i].key] = row.values[i];
    ordered_json item{{"over", over}, {"ranks", nullptr}};
    if (row.ranks > 0) item["ranks"] = row.ranks;
    if (row.refused) {
      auto const& r = *row.refused;
      item["refused"] = {{"code", r.code}, {"found", r.found}, {"expected", r.expected}, {"fix", r.fix}};
      list.push_back(item);
      continue;
    }
    auto const& mesh = row.config.mesh;
    item["dp"] = mesh.dp, item["tp"] = mesh.tp, item["pp"] = mesh.pp;
    item["step_s"] = row.step_s;
    if (!o.plan_only) item["times"] = row.times;
    item["tokens_per_s"] = row.tokens_per_s;
    item["ratio"] = ratio_of(row, rows);
    item["bubble"] = row.predicted.bubble;
    item["exposed_comm_s"] = row.exposed_s;
    item["peak_bytes"] = row.peak_bytes;
    if (!o.plan_only) item["resident_bytes"] = row.resident_bytes;
    item["bytes_moved"] = row.bytes_moved;
    item["predicted_step_s"] = 1e-9 * static_cast<double>(row.predicted.step_ns);
    list.push_back(item);
  }
  ordered_json const result{{"measured", !o.plan_only}, {"steps", o.plan_only ? 0 : o.steps}, {"rows", list}};
  std::printf("%s\n", result.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

ExitCode sweep(Program const& program, Options o) {
  if (o.plan_only && o.steps > 0) {
    fail({.code = "app.sweep.steps",
          .subject = "lamina sweep",
          .found = text("--plan-only and --steps ", o.steps),
          .expected = "one of the two: a prediction, or steps that are measured",
          .fix = "leave one out"});
  }
  if (!o.plan_only && comm::launched_in_parallel()) {
    fail({.code = "app.ranks.refused",
          .subject = "lamina sweep",
          .found = "ranks that a launcher has started already",
          .expected = "one process, which starts the ranks of each run itself",
          .fix = "leave mpirun or srun out"});
  }
  if (o.steps == 0) o.steps = usual_steps;
  std::vector<Over> overs;
  for (auto const& argument : o.over) overs.push_back(parse_over(argument));
  std::vector<Row> rows;
  for (auto const& values : combinations(overs)) {
    auto& row = rows.emplace_back();
    row.values = values;
    for (std::size_t i = 0; i < overs.size(); ++i) {
      for (auto& s : overrides_of(overs[i], values[i])) row.overrides.push_back(std::move(s));
    }
  }
  train::StopSignals const signals;
  std::optional<TemporaryDirectory> directory;
  if (!o.plan_only) directory.emplace();
  std::optional<Error> first;
  bool all_alike = true;  // what every row meets has nothing to do with the values
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto& row = rows[i];
    try {
      plan_row(program, o, row);
      if (o.plan_only) {
        predict_row(row);
      } else {
        log::info(text("run ", i + 1, " of ", rows.size(), ", ", name_of(row, overs), ": ", row.ranks,
                       row.ranks == 1 ? " rank" : " ranks"));
        measure_row(o, row, text(directory->path, "/", i + 1));
      }
      all_alike = false;
    } catch (Error const& e) {
      auto const one_line = [](std::string const& s) {
        std::istringstream words(s);
        std::string out;
        for (std::string w; words >> w;) out += (out.empty() ? "" : " ") + w;
        return out;
      };
      auto const& info = e.info();
      row.refused = {info.code, one_line(text(info.subject, ": ", info.found)), one_line(info.expected),
                     one_line(info.fix)};
      all_alike = all_alike && (!first || first->info().found == info.found);
      if (!first) first = e;
    }
    if (train::StopSignals::received() != 0) {
      log::info("stopped by a signal after ", i, " of ", rows.size(), " runs");
      return ExitCode::stopped_early;
    }
  }
  if (first && all_alike) throw *first;
  o.json ? print_json(o, overs, rows) : print_table(o, overs, rows);
  bool const any = std::ranges::any_of(rows, [](Row const& r) { return !r.refused; });
  return any ? ExitCode::ok : exit_code_of(rows.front().refused->code);
}

}  // namespace

/// lamina sweep run.toml --over mesh="dp=2|tp=2": one table of what the choices cost.
void add_sweep(Command const& app, Program& program) {
  auto o = std::make_shared<Options>();
  auto const command = app.add_subcommand("sweep", "Compare splits, schedules or any other settings in one table");
  o->file.add_to(command);
  command.add_option("--over", o->over, "A key and its values, section.key=a|b; all combinations (repeatable)")
      .required()
      .repeated();
  command.add_flag("--plan-only", o->plan_only, "Plan and predict; start nothing");
  command.add_option("--steps", o->steps, text("Steps that are measured in each run (", usual_steps, ")"))
      .check(in_range(1, 10000));
  command.add_option("--warmup", o->warmup, "Steps before them").check(in_range(0, 10000)).capture_default_str();
  command.add_option("--ranks", o->ranks, "Ranks of every run; without it the product of its mesh")
      .check(in_range(1, 65536));
  command.add_flag("--json", o->json, "Print one JSON document");
  command.footer(
      "Example:  lamina sweep run.toml --over mesh=\"dp=2|tp=2|pp=2\" --over batch.micro=\"2|4\" --plan-only\n"
      "          lamina sweep run.toml --set mesh.pp=2 --over pipeline.schedule=\"1f1b|zb-h1\" --steps 10");
  command.callback([o, &program] { program.action = [o, &program] { return sweep(program, *o); }; });
}

}  // namespace lamina::apps
