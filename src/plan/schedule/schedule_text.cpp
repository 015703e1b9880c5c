// Schedules as text: what pipeline.file holds.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "plan/detail/schedule.hpp"

namespace lamina::plan {
namespace {

using Kind = Action::Kind;
using Index = std::size_t;

constexpr std::string_view letters = "FBIW";  // in the order of Action::Kind
constexpr int most_number = 1 << 20;
constexpr Index most_columns = 100;

/// A number from 0 to most_number, all of `s`.
std::optional<int> number(std::string_view s) {
  int n = 0;
  auto const [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (error != std::errc{} || end != s.data() + s.size() || n < 0 || n > most_number) return std::nullopt;
  return n;
}

std::vector<std::string> words_of(std::string_view line) {
  std::istringstream in{std::string(line)};
  std::vector<std::string> words;
  for (std::string w; in >> w;) words.push_back(std::move(w));
  return words;
}

class Parser {
 public:
  Parser(std::string const& file, std::vector<int> const& at) : file_(file) {
    result_.schedule.at = at;
    result_.lines.file = file;
  }

  ParsedSchedule run(std::string const& text) {
    for (auto const& whole : split(text, '\n')) {
      ++line_;
      auto const line = trim(std::string_view(whole).substr(0, whole.find('#')));
      if (!line.empty()) item(line);
    }
    auto& s = result_.schedule;
    if (s.actions.empty() && problems_.empty()) problem("no line of actions", "0: F0 B0");
    if (s.at.empty()) s.at = cyclic(static_cast<int>(s.actions.size()), 1);
    for (int const c : s.at) s.coordinates = std::max(s.coordinates, c + 1);
    s.coordinates = std::max(s.coordinates, static_cast<int>(s.actions.size()));
    s.actions.resize(Index(s.coordinates));
    result_.lines.lines.resize(Index(s.coordinates));
    fill_stages();
    fail_if_any(problems_);
    return std::move(result_);
  }

 private:
  void problem(std::string found, std::string expected) {
    if (problems_.size() >= 20) return;
    problems_.push_back({.code = "plan.schedule.syntax",
                         .subject = text(file_, ':', line_, ": not a line of a pipeline schedule"),
                         .found = std::move(found),
                         .expected = std::move(expected),
                         .fix =
                             "write actions as F3 or F3.1 (micro-batch 3 of stage 1): F forward, B backward, I and W "
                             "its parts for inputs and weights"});
  }

  void item(std::string_view line) {
    auto const words = words_of(line);
    if (words[0] == "schedule") {
      if (words.size() != 2) return problem(std::string(line), "schedule NAME");
      result_.schedule.name = words[1];
    } else if (words[0] == "stages") {
      std::vector<int> at;
      for (Index i = 1; i < words.size(); ++i) {
        auto const c = number(words[i]);
        if (!c) return problem(words[i], "stages 0 1 0: the pp coordinate of each stage");
        at.push_back(*c);
      }
      result_.schedule.at = at;
    } else {
      auto const colon = line.find(':');
      auto const c = colon == line.npos ? std::nullopt : number(trim(line.substr(0, colon)));
      if (!c || *c > 65535) return problem(std::string(line), "a pp coordinate and its actions: 0: F0 F1 B0 B1");
      actions(Index(*c), line.substr(colon + 1));
    }
  }

  void actions(Index c, std::string_view list) {
    auto& s = result_.schedule;
    if (s.actions.size() <= c) s.actions.resize(c + 1), result_.lines.lines.resize(c + 1);
    for (auto const& word : words_of(list)) {
      auto const kind = letters.find(word[0]);
      auto const dot = std::min(word.find('.'), word.size());
      auto const m = number(std::string_view(word).substr(1, dot - 1));
      auto const stage = dot < word.size() ? number(std::string_view(word).substr(dot + 1)) : std::optional(-1);
      if (kind == letters.npos || !m || !stage) {
        problem(word, "F, B, I or W, a micro-batch, and .stage where a coordinate has several");
        continue;
      }
      s.actions[c].push_back({static_cast<Kind>(kind), *m, *stage});
      result_.lines.lines[c].push_back(line_);
    }
  }

  /// Where a coordinate has one stage, its actions need not name it.
  void fill_stages() {
    auto& s = result_.schedule;
    for (Index c = 0; c < s.actions.size(); ++c) {
      auto const at = std::find(s.at.begin(), s.at.end(), static_cast<int>(c));
      bool const one = std::count(s.at.begin(), s.at.end(), static_cast<int>(c)) == 1;
      for (Index i = 0; i < s.actions[c].size(); ++i) {
        auto& a = s.actions[c][i];
        if (a.stage >= 0) continue;
        line_ = result_.lines.lines[c][i];
        if (one) {
          a.stage = static_cast<int>(at - s.at.begin());
        } else {
          problem(text(letter_of(a.kind), a.micro_batch),
                  at == s.at.end() ? text("a coordinate that has a stage: ", join(s.at))
                                   : text("the stage too, for coordinate ", c, " has several: ", letter_of(a.kind),
                                          a.micro_batch, '.', at - s.at.begin()));
        }
      }
    }
  }

  std::string const& file_;
  ParsedSchedule result_;
  int line_ = 0;
  std::vector<ErrorInfo> problems_;
};

}  // namespace

char letter_of(Kind kind) { return letters[static_cast<Index>(kind)]; }

std::string to_text(Action const& action) {
  return text(letter_of(action.kind), action.micro_batch, '.', action.stage);
}

std::string to_text(Schedule const& schedule) {
  std::string out = schedule.name.empty() ? "" : text("schedule ", schedule.name, '\n');
  out += text("stages ", join(schedule.at, " "), '\n');
  for (Index c = 0; c < schedule.actions.size(); ++c) {
    bool const one = std::count(schedule.at.begin(), schedule.at.end(), static_cast<int>(c)) == 1;
    auto const start = text(c, ':');
    auto line = start;
    for (auto const& a : schedule.actions[c]) {
      auto const word = one ? text(letter_of(a.kind), a.micro_batch) : to_text(a);
      if (line.size() + word.size() >= most_columns) out += line + '\n', line = start;
      line += ' ' + word;
    }
    out += line + '\n';
  }
  return out;
}

ParsedSchedule parse_schedule(std::string const& text, std::string const& file, std::vector<int> const& at) {
  return Parser(file, at).run(text);
}

Schedule load_schedule(std::string const& file, std::vector<int> const& at, int micro_batches) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream content;
  if (in) content << in.rdbuf();
  if (!in || std::filesystem::is_directory(file)) {
    fail(
        {.code = "plan.schedule.file",
         .subject = text("pipeline.file = \"", file, '"'),
         .found = in ? "a directory" : "no file that can be read there",
         .expected = "a pipeline schedule: lines like 0: F0 F1 B0 B1",
         .fix =
             "correct the path, or take schedule = \"1f1b\"; `lamina plan --print schedule` writes one to start from"});
  }
  auto parsed = parse_schedule(content.str(), file, at);
  check(parsed.schedule, at, micro_batches, &parsed.lines);
  if (parsed.schedule.name.empty()) parsed.schedule.name = "file";
  return std::move(parsed.schedule);
}

}  // namespace lamina::plan
