#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <exception>

#include "detail/command.hpp"
#include "lamina/base/fault.hpp"
#include "lamina/base/log.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/version.hpp"
#include "lamina/lamina.hpp"

namespace lamina {
namespace {

std::string version_text() {
  auto const& b = build_information();
  return text("lamina ", b.version, b.git.empty() ? "" : text(" (", b.git, ")"), ", ", b.compiler, ", ", b.options);
}

std::vector<CLI::App*> commands_of(CLI::App& app) {
  return app.get_subcommands([](CLI::App*) { return true; });
}

/// A mistyped command, which the parser would report as a missing one.
void check_commands(CLI::App& app, std::vector<std::string> const& arguments) {
  CLI::App* group = &app;
  std::string so_far = "lamina";
  for (std::size_t i = 1; i < arguments.size() && !arguments[i].starts_with('-'); ++i) {
    std::vector<std::string> names;
    for (auto const* c : commands_of(*group)) names.push_back(c->get_name());
    if (names.empty()) return;  // an argument
    if (auto const at = std::ranges::find(names, arguments[i]); at != names.end()) {
      group = commands_of(*group)[static_cast<std::size_t>(at - names.begin())];
      so_far += " " + arguments[i];
      continue;
    }
    static std::vector<std::string> const later = {"simulate", "report", "watch"};
    bool const is_later = group == &app && std::ranges::find(later, arguments[i]) != later.end();
    auto const guess = closest(arguments[i], names);
    fail({.code = "app.command.unknown",
          .subject = text(so_far, " ", arguments[i]),
          .found = is_later ? "a command that is not available yet" : text("'", arguments[i], "', which is no command"),
          .expected = text("one of ", join(names)),
          .fix = is_later || guess.empty() ? text("see ", so_far, " --help") : text("did you mean ", guess, "?")});
  }
}

/// What the parser refused, as our other errors are written.
std::string usage_text(CLI::App& app, CLI::ParseError const& e) {
  std::string command = "lamina";
  for (auto* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    command += " " + at->get_name();
  }
  return text("error[app.usage]: ", command, "\n  found:    ", e.what(), "\n  expected: the arguments that ", command,
              " --help lists\n  fix:      read ", command, " --help, which ends with an example");
}

/// Groups and commands without an example of their own show that of their first command.
void complete_footers(CLI::App& app) {
  for (auto* command : commands_of(app)) {
    complete_footers(*command);
    if (!command->get_footer().empty()) continue;
    auto const children = commands_of(*command);
    command->footer(children.empty() ? text("Example:  lamina ", app.get_name(), " ", command->get_name())
                                     : children.front()->get_footer());
  }
}

}  // namespace

int run(int argument_count, char** arguments, std::vector<models::Registration> const& registered) {
  // A file size limit shall be an error of the write that meets it, with the file's name, not a signal that kills.
  std::signal(SIGXFSZ, SIG_IGN);
  apps::Program program;
  program.arguments = arguments;
  program.command_line.assign(arguments, arguments + argument_count);
  program.registered = registered;

  CLI::App app{"Lamina: distributed training of neural networks, planned before it is executed", "lamina"};
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text());
  app.footer("Start here:  lamina new run.toml --data FILE...  &&  lamina train run.toml --ranks 2");
  apps::Command const commands(app);
  apps::add_new(commands, program);
  apps::add_train(commands, program);
  apps::add_plan(commands, program);
  apps::add_sweep(commands, program);
  apps::add_eval(commands, program);
  apps::add_generate(commands, program);
  apps::add_checkpoint(commands, program);
  apps::add_data(commands, program);
  apps::add_bench(commands, program);
  apps::add_doctor(commands, program);
  apps::add_completion(commands, program);
  complete_footers(app);
  try {
    check_commands(app, program.command_line);
    app.parse(argument_count, arguments);
    fault::hit("", "");  // a LAMINA_FAULT that cannot be read is reported now, not at its first point
    return static_cast<int>(program.action ? program.action() : ExitCode::ok);
  } catch (CLI::Success const& e) {
    return app.exit(e);  // --help, --version
  } catch (CLI::ParseError const& e) {
    log::error(usage_text(app, e));
    return static_cast<int>(ExitCode::usage);
  } catch (Error const& e) {
    log::error(e.what());
    return static_cast<int>(e.exit_code());
  } catch (std::exception const& e) {
    auto const error = train::as_error(e);
    log::error(error.what());
    return static_cast<int>(error.exit_code());
  }
}

}  // namespace lamina
