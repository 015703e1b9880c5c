#include "detail/arguments.hpp"

#include <CLI/CLI.hpp>
#include <utility>

#include "lamina/base/text.hpp"

namespace lamina::apps {
namespace {

Check number_check(std::function<bool(double)> right, std::string wanted, std::string shown) {
  return [=](CLI::Option& option) {
    option.check(CLI::Validator(
        [=](std::string& s) {
          double x = 0;
          return CLI::detail::lexical_cast(s, x) && right(x) ? std::string()
                                                             : text("'", s, "' is not a number ", wanted);
        },
        shown));
  };
}

void collect(CLI::App const& app, std::string const& prefix, std::vector<CommandWords>& words) {
  for (auto const* command : app.get_subcommands([](CLI::App const*) { return true; })) {
    auto const name = prefix.empty() ? command->get_name() : prefix + " " + command->get_name();
    CommandWords word{.command = name, .help = command->get_description(), .options = {}, .children = {}};
    for (auto const* option : command->get_options()) {
      for (auto const& l : option->get_lnames()) word.options.push_back("--" + l);
    }
    for (auto const* child : command->get_subcommands([](CLI::App const*) { return true; }))
      word.children.push_back(child->get_name());
    words.push_back(word);
    collect(*command, name, words);
  }
}

}  // namespace

Check above_zero() {
  return number_check([](double x) { return x > 0; }, "above 0", "ABOVE 0");
}

Check not_negative() {
  return number_check([](double x) { return x >= 0; }, "from 0 on", "FROM 0");
}

Check in_range(std::int64_t low, std::int64_t high) {
  return [=](CLI::Option& option) { option.check(CLI::Range(low, high)); };
}

Check one_of(std::vector<std::string> words) {
  return [words = std::move(words)](CLI::Option& option) { option.check(CLI::IsMember(words)); };
}

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::capture_default_str() {
  option_->capture_default_str();
  return *this;
}

Option& Option::check(Check const& rule) {
  rule(*option_);
  return *this;
}

Option& Option::repeated() {
  option_->take_all()->allow_extra_args(false);
  return *this;
}

Command Command::add_subcommand(std::string const& name, std::string const& help) const {
  return Command(*app_->add_subcommand(name, help));
}

void Command::require_subcommand() const { app_->require_subcommand(1); }

template <class T>
Option Command::add_option(std::string const& names, T& value, std::string const& help) const {
  return Option(*app_->add_option(names, value, help));
}

template Option Command::add_option(std::string const&, std::string&, std::string const&) const;
template Option Command::add_option(std::string const&, int&, std::string const&) const;
template Option Command::add_option(std::string const&, std::int64_t&, std::string const&) const;
template Option Command::add_option(std::string const&, double&, std::string const&) const;
template Option Command::add_option(std::string const&, std::vector<std::string>&, std::string const&) const;

Option Command::add_flag(std::string const& names, bool& value, std::string const& help) const {
  return Option(*app_->add_flag(names, value, help));
}

void Command::allow_extras() const { app_->allow_extras(); }
void Command::footer(std::string const& text) const { app_->footer(text); }
void Command::callback(std::function<void()> chosen) const { app_->callback(std::move(chosen)); }

std::vector<CommandWords> Command::words() const {
  std::vector<CommandWords> all;
  collect(*app_, "", all);
  return all;
}

}  // namespace lamina::apps
