#include <cstdio>
#include <filesystem>

#include "detail/command.hpp"
#include "lamina/base/text.hpp"
#include "lamina/config/new_run_file.hpp"
#include "lamina/train/run_directory.hpp"

namespace lamina::apps {

/// lamina new RUN.toml [--model gpt2-124m] [--data FILE...]: never overwrites.
void add_new(Command const& app, Program& program) {
  struct Options {
    config::NewRun run;
    std::string file;
  };
  auto o = std::make_shared<Options>();
  std::string models;
  for (auto const& p : config::presets()) models += "\n  " + p.name + ": " + p.help;
  auto const command = app.add_subcommand("new", "Write a commented run file that works");
  command.add_option("RUN", o->file, "Run file to write (.toml)").required();
  command.add_option("--model", o->run.model, "Preset of sizes:" + models).capture_default_str();
  command.add_option("--data", o->run.data, "Training files: text, or token shards (.bin)");
  command.add_option("--dir", o->run.dir, "Run directory; default runs/<model>");
  command.footer("Example:  lamina new run.toml --model gpt-tiny --data book.txt");
  command.callback([o, &program] {
    program.action = [o] {
      if (o->file.empty()) {
        fail({.code = "app.new.name",
              .subject = "lamina new",
              .found = "an empty name",
              .expected = "the run file to write",
              .fix = "for example lamina new run.toml"});
      }
      if (std::filesystem::exists(o->file)) {
        fail({.code = "app.new.exists",
              .subject = text("run file '", o->file, "'"),
              .found = "a file of that name",
              .expected = "a new name: nothing is overwritten",
              .fix = "choose another name, or remove the file"});
      }
      train::write_atomically(std::filesystem::absolute(o->file).string(), config::new_run_file(o->run));
      std::printf("wrote %s; next: lamina plan %s, then lamina train %s\n", o->file.c_str(), o->file.c_str(),
                  o->file.c_str());
      return ExitCode::ok;
    };
  });
}

}  // namespace lamina::apps
