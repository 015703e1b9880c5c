#include "config/detail/layer.hpp"

#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"

namespace lamina::config::detail {
namespace {

struct OpRow {
  std::string_view op;
  std::string_view keys;  ///< beside op and name
  std::string_view example;
};
constexpr std::array<OpRow, 6> ops{{
    {"linear", "out bias", "{ op = \"linear\", out = 10 }"},
    {"relu", "", "{ op = \"relu\" }"},
    {"gelu", "", "{ op = \"gelu\" }"},
    {"layer_norm", "", "{ op = \"layer_norm\" }"},
    {"dropout", "p", "{ op = \"dropout\", p = 0.5 }"},
    {"flatten", "", "{ op = \"flatten\" }"},
}};
constexpr std::int64_t most_features = 1 << 24;

bool is_path(std::string const& s) {
  bool const letters = std::ranges::all_of(s, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
  return letters && !s.empty() && s.front() != '.' && s.back() != '.' && s.find("..") == s.npos;
}

/// One table on its way into a LayerSpec.
class Reader {
 public:
  Reader(Value const& value, std::string const& where, LayerSpec& layer) : value_(value), where_(where), to_(layer) {}

  std::vector<ErrorInfo> run() {
    auto const* members = std::get_if<Value::Table>(&value_.of);
    if (!members) return {problem(where_, value_.shown, "a table", text("write ", ops[0].example))};
    auto const* op = find(*members, "op");
    auto const* word = op ? std::get_if<std::string>(&op->of) : nullptr;
    auto const row = std::ranges::find(ops, word ? std::string_view(*word) : std::string_view(), &OpRow::op);
    if (row == ops.end()) {
      std::vector<std::string> known;
      for (auto const& r : ops) known.emplace_back(r.op);
      auto const guess = word ? closest(*word, known) : "";
      return {problem(where_ + ".op", op ? op->shown : "no such key", text("one of \"", join(known, "\", \""), '"'),
                      guess.empty() ? text("write ", ops[0].example) : text("did you mean \"", guess, "\"?"))};
    }
    to_.op = *word;
    std::vector<ErrorInfo> problems;
    for (auto const& [key, value] : *members) {
      if (auto p = take(*row, key, value)) problems.push_back(std::move(*p));
    }
    if (to_.op == "linear" && to_.out == 0 && problems.empty()) {
      problems.push_back(problem(where_ + ".out", "no such key", "the number of output features of a linear layer",
                                 text("write ", row->example)));
    }
    return problems;
  }

 private:
  static Value const* find(Value::Table const& members, std::string_view name) {
    auto const at = std::ranges::find(members, name, [](auto const& m) { return std::string_view(m.first); });
    return at == members.end() ? nullptr : &at->second;
  }

  static ErrorInfo problem(std::string subject, std::string found, std::string expected, std::string fix) {
    return {.code = "config.model.layer",
            .subject = std::move(subject),
            .found = std::move(found),
            .expected = std::move(expected),
            .fix = std::move(fix)};
  }

  std::optional<ErrorInfo> take(OpRow const& row, std::string const& key, Value const& value) {
    if (key == "op") return std::nullopt;
    auto const of_key = [&](std::string expected, std::string fix) {
      return problem(text(where_, '.', key), value.shown, std::move(expected), std::move(fix));
    };
    if (key == "name") {
      auto const* s = std::get_if<std::string>(&value.of);
      if (!s || !is_path(*s)) {
        return of_key("a path of letters, digits, '_' and '.', such as \"part1.fc1\"", "correct the name");
      }
      to_.name = *s;
      return std::nullopt;
    }
    auto known = row.keys.empty() ? std::vector<std::string>{} : split(row.keys, ' ');
    if (std::ranges::find(known, key) == known.end()) {
      known.insert(known.begin(), {"op", "name"});
      auto const guess = closest(key, known);
      return of_key(text("a key of op \"", row.op, "\": ", join(known)),
                    guess.empty() ? "remove it" : text("did you mean ", guess, '?'));
    }
    if (key == "out") {
      auto const* i = std::get_if<std::int64_t>(&value.of);
      if (!i || *i < 1 || *i > most_features) return of_key(text("an integer, 1 to ", most_features), "correct it");
      to_.out = *i;
    } else if (key == "bias") {
      auto const* b = std::get_if<bool>(&value.of);
      if (!b) return of_key("true or false", "correct it");
      to_.bias = *b;
    } else {
      auto const* d = std::get_if<double>(&value.of);
      auto const* i = std::get_if<std::int64_t>(&value.of);
      double const p = d ? *d : i ? static_cast<double>(*i) : -1;
      if (!(p >= 0 && p < 1)) return of_key("a probability, 0 to below 1", "correct it");
      to_.p = p + 0.0;
    }
    return std::nullopt;
  }

  Value const& value_;
  std::string const& where_;
  LayerSpec& to_;
};

}  // namespace

std::vector<ErrorInfo> read_layer(Value const& value, std::string const& where, LayerSpec& layer) {
  return Reader(value, where, layer).run();
}

}  // namespace lamina::config::detail
