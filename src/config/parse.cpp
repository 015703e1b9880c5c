#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/detail/document.hpp"
#include "config/detail/foreign.hpp"
#include "config/detail/keys.hpp"
#include "config/detail/rules.hpp"
#include "config/detail/values.hpp"
#include "lamina/base/text.hpp"
#include "lamina/config/run_config.hpp"

namespace lamina::config {
namespace {

using detail::Document;
using detail::Entry;
using detail::Key;
using detail::Place;
using detail::Problem;

class Parser {
 public:
  Parser(Document const& document, std::vector<CustomModel> const& custom) : document_(document) {
    for (auto const& model : custom) kinds_.push_back(model.kind);
    auto const kind =
        std::ranges::find_if(document.entries, [](Entry const& e) { return e.section == "model" && e.name == "kind"; });
    if (kind == document.entries.end()) return;
    auto const* word = std::get_if<std::string>(&kind->value.of);
    auto const at = std::ranges::find_if(custom, [&](CustomModel const& m) { return word && m.kind == *word; });
    if (at != custom.end()) custom_ = &*at;
  }

  RunConfig run() {
    if (custom_) {
      for (auto const& key : custom_->keys) config_.model.custom.set(key.name, key.default_value);
    }
    for (auto const& [section, place] : document_.sections) check_section(section, place);
    for (auto const& entry : document_.entries) take(entry);
    check_required();
    detail::check_rules(config_, given_, problems_);
    detail::require_none(std::move(problems_));
    for (auto const& [key, place] : given_) config_.given.emplace(key, place.where);
    return config_;
  }

 private:
  static bool is_section(std::string const& name) {
    return std::ranges::find(detail::all_sections(), name) != detail::all_sections().end();
  }

  void check_section(std::string const& name, Place const& place) {
    if (is_section(name)) return;
    std::vector<std::string> const sections(detail::all_sections().begin(), detail::all_sections().end());
    auto const guess = closest(name, sections);
    bool const empty = std::ranges::find(document_.entries, name, &Entry::section) == document_.entries.end();
    if (!guess.empty()) misspelt_.push_back(name);
    if (!empty && guess.empty() && detail::find_foreign("", name)) return;  // its keys are explained one by one
    auto const* foreign = detail::find_foreign("", name);
    detail::add_problem(problems_, place,
                        {.code = "config.section.unknown",
                         .subject = text("unknown section [", name, "]"),
                         .found = text('[', name, ']'),
                         .expected = text("one of ", join(sections)),
                         .fix = !guess.empty() ? text("did you mean [", guess, "]?")
                                : foreign      ? detail::explain(*foreign)
                                               : "remove it, or move its keys to one of these"});
  }

  void take(Entry const& entry) {
    if (entry.section.empty()) {
      if (is_section(entry.name)) return wrong_section(entry);
      return unknown_key(entry);
    }
    given_.emplace(text(entry.section, '.', entry.name), entry.place);
    if (auto const* key = detail::find_key(entry.section, entry.name)) {
      for (auto& problem : detail::store(*key, entry.value, config_, kinds_)) {
        detail::add_problem(problems_, entry.place, std::move(problem));
      }
      return;
    }
    if (custom_ && entry.section == "model") {
      auto const key = std::ranges::find(custom_->keys, entry.name, &CustomKey::name);
      if (key != custom_->keys.end()) {
        if (auto problem = detail::store_custom(*key, entry.value, config_.model.custom)) {
          detail::add_problem(problems_, entry.place, std::move(*problem));
        }
        return;
      }
    }
    if (std::ranges::find(misspelt_, entry.section) != misspelt_.end()) return;  // one message is enough
    unknown_key(entry);
  }

  void wrong_section(Entry const& entry) {
    detail::add_problem(problems_, entry.place,
                        {.code = text("config.", entry.name, ".type"),
                         .subject = text(entry.name, " is a section"),
                         .found = text(entry.name, " = ", entry.value.shown),
                         .expected = text('[', entry.name, "] on a line of its own, its keys below"),
                         .fix = text("write [", entry.name, "]")});
  }

  void unknown_key(Entry const& entry) {
    auto const path = entry.section.empty() ? entry.name : text(entry.section, '.', entry.name);
    auto known = detail::names_in(entry.section);
    if (custom_ && entry.section == "model") {
      for (auto const& key : custom_->keys) known.push_back(key.name);
    }
    detail::add_problem(problems_, entry.place,
                        {.code = text("config.", is_section(entry.section) ? entry.section : "section", ".unknown"),
                         .subject = text("unknown key ", path),
                         .found = text(entry.name, " = ", entry.value.shown),
                         .expected = known.empty() ? text("a key of the sections ", join(detail::all_sections()))
                                                   : text("one of ", join(known)),
                         .fix = advice(entry, known)});
  }

  static std::string advice(Entry const& entry, std::vector<std::string> const& known) {
    for (auto const& key : detail::all_keys()) {
      if (key.name == entry.name && key.name != "kind") {
        return text("it belongs to another section: ", key.section, '.', key.name, " (", key.help, ')');
      }
    }
    if (auto const* foreign = detail::find_foreign(entry.section, entry.name)) return detail::explain(*foreign);
    if (auto const guess = closest(entry.name, known); !guess.empty()) return text("did you mean ", guess, '?');
    std::vector<std::string> everywhere;
    for (auto const& key : detail::all_keys()) everywhere.emplace_back(key.name);
    if (auto const guess = closest(entry.name, everywhere); !guess.empty()) {
      auto const key = std::ranges::find(detail::all_keys(), guess, &Key::name);
      return text("did you mean ", key->section, '.', key->name, '?');
    }
    return "remove it";
  }

  void check_required() {
    for (auto const& key : detail::all_keys()) {
      auto const path = text(key.section, '.', key.name);
      if (!key.limits.required || given_.contains(path)) continue;
      auto const at = std::ranges::find(document_.sections, key.section, &std::pair<std::string, Place>::first);
      auto const place = at != document_.sections.end() ? at->second : Place{document_.file, 0, 0};
      detail::add_problem(problems_, place,
                          {.code = text("config.", key.section, ".required"),
                           .subject = text(path, " is required"),
                           .found = "no such key",
                           .expected = text(detail::describe(key), ": ", key.help),
                           .fix = text("add it below [", key.section, "]; `lamina new` writes a run file that works")});
    }
  }

  Document const& document_;
  CustomModel const* custom_ = nullptr;
  std::vector<std::string> kinds_;     // registered models
  std::vector<std::string> misspelt_;  // sections whose name is almost one of ours
  RunConfig config_;
  detail::Places given_;
  std::vector<Problem> problems_;
};

// A registered model is code: what is wrong with it is said to its author, before any run file is read.
void check_custom(std::vector<CustomModel> const& custom) {
  for (auto const& model : custom) {
    for (auto const& key : model.keys) {
      if (!detail::find_key("model", key.name)) continue;
      fail({.code = "config.model.registered",
            .subject = text("the registered model \"", model.kind, '"'),
            .found = text("a key \"", key.name, "\" of its own"),
            .expected = "names that [model] does not have yet",
            .fix = text("read config::Model::", key.name, ", or choose another name")});
    }
  }
}

}  // namespace

RunConfig parse(std::string const& text, std::string const& file_name, std::vector<std::string> const& overrides,
                std::vector<CustomModel> const& custom) {
  check_custom(custom);
  auto const document = detail::read_document(text, file_name, overrides);
  return Parser(document, custom).run();
}

RunConfig load(std::string const& path, std::vector<std::string> const& overrides,
               std::vector<CustomModel> const& custom) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  auto const status = fs::status(path, ignored);
  auto const problem = [&](std::string code, std::string found, std::string fix) {
    fail({.code = std::move(code),
          .subject = text("the run file ", path),
          .found = std::move(found),
          .expected = "a readable TOML file",
          .fix = std::move(fix)});
  };
  if (!fs::exists(status)) {
    std::vector<std::string> names;
    auto const parent = fs::path(path).parent_path();
    for (fs::directory_iterator at(parent.empty() ? "." : parent, ignored), end; !ignored && at != end;
         at.increment(ignored)) {
      if (at->path().extension() == ".toml") names.push_back((parent / at->path().filename()).string());
    }
    std::ranges::sort(names);
    auto const guess = closest(path, names);
    problem("config.file.missing", "no such file",
            guess.empty() ? "check the path, or write one with `lamina new`" : text("did you mean ", guess, '?'));
  }
  if (!fs::is_regular_file(status) && !fs::is_fifo(status) && !fs::is_character_file(status)) {
    problem("config.file.kind", fs::is_directory(status) ? "a directory" : "not a file",
            "name the run file itself; a run directory keeps it as config.toml");
  }
  std::ifstream in(path, std::ios::binary);
  std::string content;
  // One byte more than is allowed is enough to refuse: no pipe or huge file fills the memory.
  constexpr std::size_t most = (1 << 20) + 1;
  content.resize(most);
  in.read(content.data(), static_cast<std::streamsize>(most));
  auto const got = static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0));
  if (!in.eof() && got < most) {
    problem("config.file.read", "it cannot be read", text("check its permissions: ls -l ", path));
  }
  content.resize(got);
  return parse(content, path, overrides, custom);
}

}  // namespace lamina::config
