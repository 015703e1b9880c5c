#include <cstdio>
#include <exception>

#include "detail/command.hpp"
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

}  // namespace

int run(int argument_count, char** arguments, std::vector<models::Registration> const& registered) {
  apps::Program program;
  program.arguments = arguments;
  program.command_line.assign(arguments, arguments + argument_count);
  program.registered = registered;

  CLI::App app{"Lamina: distributed training of neural networks, planned before it is executed", "lamina"};
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text());
  app.footer("Start here:  lamina new run.toml --data FILE...  &&  lamina train run.toml --ranks 2");
  apps::add_new(app, program);
  apps::add_train(app, program);
  apps::add_plan(app, program);
  apps::add_eval(app, program);
  apps::add_generate(app, program);
  apps::add_checkpoint(app, program);
  apps::add_data(app, program);
  apps::add_bench(app, program);
  apps::add_doctor(app, program);
  apps::add_completion(app, program);
  try {
    app.parse(argument_count, arguments);
    return static_cast<int>(program.action ? program.action() : ExitCode::ok);
  } catch (CLI::Success const& e) {
    return app.exit(e);  // --help, --version
  } catch (CLI::ParseError const& e) {
    app.exit(e);
    return static_cast<int>(ExitCode::usage);
  } catch (Error const& e) {
    log::error(e.what());
    return static_cast<int>(e.exit_code());
  } catch (std::exception const& e) {
    log::error(
        text("error[app.internal]: ", e.what(), "\n  this is a bug in Lamina: please report it with the command line"));
    return static_cast<int>(ExitCode::internal);
  }
}

}  // namespace lamina
