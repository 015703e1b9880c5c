#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

/// The part of CLI11 that describes commands, under its names. Only arguments.cpp and run.cpp include its header, which
/// takes longer to compile than most of what is written with it.
namespace lamina::apps {

/// What a value must be; help shows it, and the message of a value that is refused.
using Check = std::function<void(CLI::Option&)>;
Check above_zero();
Check not_negative();
Check in_range(std::int64_t low, std::int64_t high);
Check one_of(std::vector<std::string> words);

/// An option or a positional argument.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}

  Option& required();
  Option& capture_default_str();  ///< help shows the value that the variable has now
  Option& check(Check const& rule);
  Option& repeated();  ///< one value each time it is given, all of them kept

 private:
  CLI::Option* option_;
};

struct CommandWords {
  std::string command;  ///< "train", "data pack"
  std::string help;
  std::vector<std::string> options;   ///< "--steps"
  std::vector<std::string> children;  ///< "pack"
};

/// A command, or a group of commands. The variables of its options must live until its action has run.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  Command add_subcommand(std::string const& name, std::string const& help) const;
  void require_subcommand() const;
  /// @tparam T std::string, int, std::int64_t, double or std::vector<std::string>
  template <class T>
  Option add_option(std::string const& names, T& value, std::string const& help) const;
  Option add_flag(std::string const& names, bool& value, std::string const& help) const;
  void allow_extras() const;
  void footer(std::string const& text) const;
  /// Called when the command line was found right and names this command.
  void callback(std::function<void()> chosen) const;
  /// Every command below this one, a group before its members.
  std::vector<CommandWords> words() const;

 private:
  CLI::App* app_;
};

}  // namespace lamina::apps
