#include "lamina/checkpoint/checkpoint.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "detail/command.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/checkpoint/exchange.hpp"
#include "lamina/train/run_directory.hpp"

namespace lamina::apps {
namespace {

struct Options {
  std::vector<std::string> paths;
  std::string output;
  bool json = false;
};

[[noreturn]] void fail_none(std::string const& path) {
  fail({.code = "checkpoint.list.none",
        .subject = text("'", path, "'"),
        .found = "no complete checkpoint",
        .expected = "a run directory with checkpoints, or one checkpoint",
        .fix = "check the path; unfinished attempts (.tmp-*) are no checkpoints"});
}

/// The newest checkpoint of a path.
checkpoint::Listing newest(std::string const& path) {
  auto all = checkpoint::list(path);
  if (all.empty()) fail_none(path);
  return std::move(all.back());
}

ExitCode list_checkpoints(Options const& o) {
  auto document = nlohmann::ordered_json::array();
  for (auto const& path : o.paths) {
    auto const all = checkpoint::list(path);
    for (auto const& directory : checkpoint::directories(path)) {
      if (std::ranges::find(all, directory, &checkpoint::Listing::directory) == all.end())
        log::warn(directory, " is not complete: lamina checkpoint verify says why");
    }
    if (all.empty()) fail_none(path);
    for (auto const& c : all) {
      if (o.json) {
        nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
        for (auto const& t : c.tensors) {
          tensors.push_back(
              {{"name", t.name}, {"role", std::string(name_of(t.role))}, {"spec", text(t.spec)}, {"file", t.file}});
        }
        document.push_back({{"directory", c.directory},
                            {"step", c.state.step},
                            {"tokens", c.state.tokens},
                            {"bytes", c.bytes},
                            {"layout", c.state.layout},
                            {"tensors", tensors}});
        continue;
      }
      std::printf("%s  step %lld, %lld tokens, %zu tensors, %s, written by %s\n", c.directory.c_str(),
                  static_cast<long long>(c.state.step), static_cast<long long>(c.state.tokens), c.tensors.size(),
                  human_bytes(c.bytes).c_str(), c.state.layout.c_str());
    }
  }
  if (o.json) std::printf("%s\n", document.dump(2).c_str());
  return ExitCode::ok;
}

std::string sound_text(std::string const& directory) {
  auto const c = newest(directory);
  return text("sound: ", c.tensors.size(), " tensors, ", human_bytes(c.bytes));
}

ExitCode verify_checkpoints(Options const& o) {
  bool sound = true;
  auto document = nlohmann::ordered_json::array();
  for (auto const& path : o.paths) {
    // Not only the complete ones: a missing manifest or a file that was cut is damage as well.
    auto const all = checkpoint::directories(path);
    if (all.empty()) fail_none(path);
    for (auto const& directory : all) {
      auto const problems = checkpoint::verify(directory);
      sound = sound && problems.empty();
      document.push_back({{"directory", directory}, {"problems", problems}});
      if (o.json) continue;
      std::printf("%s  %s\n", directory.c_str(), problems.empty() ? sound_text(directory).c_str() : "DAMAGED");
      for (auto const& p : problems) std::printf("  %s\n", p.c_str());
    }
  }
  if (o.json) std::printf("%s\n", document.dump(2).c_str());
  return sound ? ExitCode::ok : ExitCode::bad_input;
}

ExitCode compare_checkpoints(Options const& o) {
  if (o.paths.size() != 2) {
    fail({.code = "app.checkpoint.diff",
          .subject = "lamina checkpoint diff",
          .found = text(o.paths.size(), " paths"),
          .expected = "two",
          .fix = "name two checkpoints or run directories"});
  }
  auto const rows = checkpoint::diff(newest(o.paths[0]).directory, newest(o.paths[1]).directory);
  bool equal = true;
  auto document = nlohmann::ordered_json::array();
  for (auto const& r : rows) {
    bool const same = r.note.empty() && r.differing == 0;
    equal = equal && same;
    document.push_back({{"name", r.name},
                        {"role", std::string(name_of(r.role))},
                        {"note", r.note},
                        {"differing", r.differing},
                        {"count", r.count},
                        {"max_abs", r.max_abs},
                        {"max_rel", r.max_rel}});
    if (o.json || same) continue;
    std::printf(
        "%-11s %-40s %s\n", std::string(name_of(r.role)).c_str(), r.name.c_str(),
        !r.note.empty()
            ? r.note.c_str()
            : text(r.differing, " of ", r.count, " differ, max abs ", r.max_abs, ", max rel ", r.max_rel).c_str());
  }
  if (o.json)
    std::printf("%s\n", document.dump(2).c_str());
  else if (equal)
    std::printf("equal: %zu tensors\n", rows.size());
  return equal ? ExitCode::ok : ExitCode::bad_input;
}

ExitCode export_checkpoint(Program const& program, Options const& o) {
  auto const from = newest(o.paths[0]);
  auto const config = config::parse(from.state.config, from.directory + "/config", {}, program.custom_models());
  auto const& m = config.model;
  if (m.kind == "layers") {
    auto const file = checkpoint::export_parameters(from.directory, o.output);
    std::printf("wrote %s from %s; load it with safetensors.torch.load_file(\"%s\")\n", file.c_str(),
                from.directory.c_str(), file.c_str());
    return ExitCode::ok;
  }
  if (m.kind != "gpt" || m.norm != "pre" || m.activation != "gelu" || !m.causal || m.positions != "learned" ||
      m.head_bias) {
    fail({.code = "app.checkpoint.export",
          .subject = text("checkpoint '", from.directory, "'"),
          .found = text("a model of kind '", m.kind, "' that Hugging Face's GPT-2 cannot hold"),
          .expected = "kind gpt, norm pre, activation gelu, causal, learned positions, no head_bias",
          .fix = "read the HDF5 files with h5py: every tensor is a dataset of its global shape"});
  }
  checkpoint::export_gpt2(from.directory, o.output);
  std::printf("wrote %s from %s; load it with transformers.GPT2LMHeadModel.from_pretrained(\"%s\")\n", o.output.c_str(),
              from.directory.c_str(), o.output.c_str());
  return ExitCode::ok;
}

/// A run directory that eval, generate and export read as it is, and train goes on with once data.train is right.
void import_checkpoint(Options const& o) {
  auto const source = o.paths[0];
  auto const folder =
      std::filesystem::is_directory(source) ? source : std::filesystem::absolute(source).parent_path().string();
  auto const sizes = checkpoint::read_hf_config(folder);
  auto config = config::parse(
      text("[run]\ndir = ", nlohmann::json(o.output).dump(), "\n[model]\nkind = \"gpt\"\nlayers = ", sizes.layers,
           "\nhidden = ", sizes.hidden, "\nheads = ", sizes.heads, "\ncontext = ", sizes.context,
           "\nvocab = ", sizes.vocab, "\nff = ", sizes.ff, "\ntied = ", sizes.tied ? "true" : "false",
           "\n[data]\nkind = \"tokens\"\ntrain = [\"data/train.bin\"]\n"),
      "imported");
  config::resolve(config, 1);
  auto const printed = config::print(config);
  checkpoint::State const state{.seed = config.run.seed, .config = printed, .layout = text("imported from ", source)};
  auto const report = checkpoint::import_gpt2(source, o.output, state);
  train::write_atomically(o.output + "/config.toml", printed);
  std::printf(
      "wrote %s; next: lamina generate %s --tokenizer tokenizer.json, or lamina train %s/config.toml --set "
      "data.train='[\"...\"]'\n",
      report.directory.c_str(), o.output.c_str(), o.output.c_str());
}

}  // namespace

/// lamina checkpoint ls|verify|diff|export|import PATH... [-o OUT]: no MPI.
void add_checkpoint(Command const& app, Program& program) {
  auto const command = app.add_subcommand("checkpoint", "List, verify, compare, export and import checkpoints");
  command.require_subcommand();
  struct Row {
    char const *name, *help, *example;
    bool output;
    std::function<ExitCode(Program const&, Options const&)> action;
  };
  std::vector<Row> const rows = {
      {"ls", "List the complete checkpoints of a run", "lamina checkpoint ls runs/gpt", false,
       [](Program const&, Options const& o) { return list_checkpoints(o); }},
      {"verify", "Read everything and check every checksum", "lamina checkpoint verify runs/gpt", false,
       [](Program const&, Options const& o) { return verify_checkpoints(o); }},
      {"diff", "Compare two checkpoints tensor by tensor", "lamina checkpoint diff runs/a runs/b", false,
       [](Program const&, Options const& o) { return compare_checkpoints(o); }},
      {"export", "Write weights as safetensors: for Hugging Face (gpt), or under their own names (layers)",
       "lamina checkpoint export runs/gpt -o gpt2-hf", true,
       [](Program const& p, Options const& o) { return export_checkpoint(p, o); }},
      {"import", "Make a run directory from Hugging Face GPT-2 weights",
       "lamina checkpoint import gpt2-hf -o runs/gpt2", true,
       [](Program const&, Options const& o) {
         import_checkpoint(o);
         return ExitCode::ok;
       }},
  };
  for (auto const& row : rows) {
    auto o = std::make_shared<Options>();
    auto const sub = command.add_subcommand(row.name, row.help);
    sub.add_option("PATHS", o->paths, "Run directories or checkpoints").required();
    if (row.output) sub.add_option("-o,--output", o->output, "Directory to write").required();
    if (!row.output) sub.add_flag("--json", o->json, "Print one JSON document");
    sub.footer(text("Example:  ", row.example));
    sub.callback(
        [o, action = row.action, &program] { program.action = [o, action, &program] { return action(program, *o); }; });
  }
  auto const repair = command.add_subcommand("repair", "Not available yet");
  repair.allow_extras();
  repair.callback([&program] {
    program.action = []() -> ExitCode {
      fail({.code = "app.checkpoint.repair",
            .subject = "lamina checkpoint repair",
            .found = "a command that is not available yet",
            .expected = "ls, verify, diff, export or import",
            .fix = "a damaged checkpoint is skipped by itself: the one before is loaded"});
    };
  });
}

}  // namespace lamina::apps
