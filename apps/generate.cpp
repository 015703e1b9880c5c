#include "lamina/train/generate.hpp"

#include <cstdio>
#include <iostream>
#include <iterator>
#include <numeric>

#include "detail/command.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/data/tokenizer.hpp"

namespace lamina::apps {
namespace {

struct Options {
  RunFile file;
  std::string prompt = "\n";
  std::string tokenizer, ranks;
  std::int64_t tokens = 200, step = -1;
  train::Sampling sampling;
};

ExitCode generate_text(Program const& program, Options const& o, Parallel& p) {
  auto const config = load_everywhere(program, o.file, p.world, config::Work::generation);
  bool const lead = p.world.rank() == 0;
  if (config.model.kind == "layers") {
    fail({.code = "app.generate.model",
          .subject = text("run '", config.run.dir, "'"),
          .found = "a model of kind layers: numbers in, numbers out",
          .expected = "a model over tokens, such as kind gpt",
          .fix = text("measure this one with lamina eval ", o.file.path)});
  }
  // One replica of the model: ranks beyond its mesh have nothing to do.
  std::vector<int> members(static_cast<std::size_t>(config.mesh.tp * config.mesh.pp));
  std::iota(members.begin(), members.end(), 0);
  auto const ranks = p.world.subgroup(members, "generation", 0);
  if (!ranks) return ExitCode::ok;
  auto const spec = !o.tokenizer.empty()         ? o.tokenizer
                    : config.data.kind == "text" ? config.data.tokenizer
                                                 : std::string("bytes");
  auto const tokenizer = data::Tokenizer::open(spec);
  if (lead && tokenizer.vocab() < config.model.vocab) {
    log::warn("the tokenizer ", spec, " knows ", tokenizer.vocab(), " of the model's ", config.model.vocab,
              " tokens, the others are written as nothing: name the right one with --tokenizer");
  }
  train::Session session(config, ranks,
                         {.purpose = plan::Purpose::generate,
                          .registered = program.registered,
                          .generate = {},
                          .threads = p.threads.count});
  if (!session.load(config.run.dir, o.step).any) {
    if (config.model.init == "random") {
      fail({.code = "checkpoint.load.none",
            .subject = text("run directory '", config.run.dir, "'"),
            .found = "no checkpoint",
            .expected = "a checkpoint, or model.init with weights",
            .fix = "train first: lamina train <run file>"});
    }
    session.initialise();
  }
  auto prompt = o.prompt;
  if (prompt == "-") {  // only rank 0 has the launcher's standard input
    prompt = lead ? std::string(std::istreambuf_iterator<char>(std::cin), {}) : std::string();
    ranks.broadcast_bytes(prompt, 0);
  }
  auto tokens = tokenizer.encode(prompt);
  if (tokens.empty()) tokens.push_back(tokenizer.end_of_text() >= 0 ? tokenizer.end_of_text() : '\n');
  if (lead) std::cout << prompt << std::flush;
  train::Generator generator(session);
  generator.run(tokens, o.tokens, o.sampling, [&](std::int32_t token) {
    if (lead) std::cout << tokenizer.decode({token}) << std::flush;
  });
  if (lead) std::cout << '\n' << std::flush;
  return ExitCode::ok;
}

}  // namespace

/// lamina generate RUN_DIR: writes text to standard output, token by token.
void add_generate(Command const& app, Program& program) {
  auto o = std::make_shared<Options>();
  auto const command = app.add_subcommand("generate", "Write text with a trained model");
  o->file.add_to(command, "Run directory, or run file (.toml)");
  command.add_option("--prompt", o->prompt, "Text to continue; '-' reads standard input");
  command.add_option("--tokens", o->tokens, "Tokens to write").check(not_negative()).capture_default_str();
  command.add_option("--temperature", o->sampling.temperature, "0 is greedy")
      .check(not_negative())
      .capture_default_str();
  command.add_option("--top-k", o->sampling.top_k, "Draw from the k likeliest tokens only; 0: all")
      .check(not_negative())
      .capture_default_str();
  command.add_option("--seed", o->sampling.seed, "Seed of the draws").capture_default_str();
  command.add_option("--step", o->step, "Checkpoint of this step instead of the newest").check(not_negative());
  command.add_option("--tokenizer", o->tokenizer, "bytes, or a tokenizer.json, when the run file names none");
  command.add_option("--ranks", o->ranks, "Start this many ranks under mpirun, or 'auto'");
  command.footer("Example:  lamina generate runs/gpt --prompt '#include <' --tokens 300 --temperature 0.8 --top-k 40");
  command.callback([o, &program] {
    program.action = [o, &program] {
      use_run_directory(o->file);
      return run_parallel(program, peek_start(program, o->file, o->ranks),
                          [&](Parallel& p) { return generate_text(program, *o, p); });
    };
  });
}

}  // namespace lamina::apps
