#include "lamina/graph/shard_rule.hpp"

#include <algorithm>
#include <map>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::graph {
namespace {

/// A term as it is written: a mark or none, then letters, at most one '*', or a single '.'.
struct Pattern {
  std::string symbols;
  char mark = ' ';
};

struct Parsed {
  std::vector<Pattern> in, out;
  std::string whole = ".";  ///< symbols followed by '!' anywhere
};

[[noreturn]] void fail_syntax(std::string_view kind, ShardRule const& rule, std::string what) {
  fail({.code = "graph.shard_rule.syntax",
        .subject = text("shard rule of ", kind, ": \"", rule.letters, "\""),
        .found = std::move(what),
        .expected =
            "terms -> terms; a term is '.', or letters a-z and at most one '*', each perhaps followed by '!'; in front "
            "of it perhaps '+' or '%' (inputs), '+', '=' or '^' (outputs)",
        .fix = "see the grammar in src/graph/README.md"});
}

std::vector<Pattern> parse_terms(std::string_view side, std::string_view marks, std::string_view kind,
                                 ShardRule const& rule, std::string& whole) {
  std::vector<Pattern> terms;
  for (auto const& piece : split(side, ',')) {
    Pattern term;
    auto body = trim(piece);
    if (!body.empty() && marks.find(body.front()) != std::string_view::npos) {
      term.mark = body.front();
      body.remove_prefix(1);
    }
    for (char const c : body) {
      if (c == '!' && !term.symbols.empty()) {
        whole += term.symbols.back();
      } else if ((c >= 'a' && c <= 'z') || ((c == '*' || c == '.') && term.symbols.find(c) == std::string::npos)) {
        if (c != '*' && term.symbols.find(c) != std::string::npos) {
          fail_syntax(kind, rule, text("letter '", c, "' twice in the term \"", body, "\""));
        }
        term.symbols += c;
      } else {
        fail_syntax(kind, rule, text("'", c, "' in the term \"", body, "\""));
      }
    }
    if (term.symbols.empty()) fail_syntax(kind, rule, "an empty term");
    if (term.symbols.find('.') != std::string::npos && term.symbols.size() > 1) {
      fail_syntax(kind, rule, text("'.' beside other symbols in the term \"", body, "\""));
    }
    terms.push_back(std::move(term));
  }
  return terms;
}

Parsed parse(ShardRule const& rule, std::string_view kind) {
  auto const arrow = rule.letters.find("->");
  if (arrow == std::string::npos) fail_syntax(kind, rule, "no \"->\"");
  Parsed parsed;
  std::string_view const all = rule.letters;
  parsed.in = parse_terms(all.substr(0, arrow), "+%", kind, rule, parsed.whole);
  parsed.out = parse_terms(all.substr(arrow + 2), "+=^", kind, rule, parsed.whole);
  return parsed;
}

void require_terms(std::string_view kind, ShardRule const& rule, std::string_view side, std::size_t terms,
                   std::size_t tensors) {
  if (terms == tensors) return;
  fail({.code = "graph.shard_rule.terms",
        .subject = text("shard rule of ", kind, ": \"", rule.letters, "\""),
        .found = text(terms, " terms for ", tensors, ' ', side),
        .expected = "one term per tensor",
        .fix = "give shard_rule() the same optional operands as infer()"});
}

/// Fits the patterns of one node: finds how many dims '*' stands for, then the extent of every letter.
class Expansion {
 public:
  Expansion(std::string_view kind, ShardRule const& rule) : kind_(kind), rule_(rule) {}

  ExpandedRule::Term expand(Pattern const& pattern, TensorSpec const& spec) {
    int const ndim = spec.shape.ndim();
    ExpandedRule::Term term{.letters = {},
                            .plus = pattern.mark == '+',
                            .same = pattern.mark == '=',
                            .max = pattern.mark == '^',
                            .as_is = pattern.mark == '%'};
    if (pattern.symbols == ".") {
      term.letters.assign(static_cast<std::size_t>(ndim), '.');
      return term;
    }
    bool const run = pattern.symbols.find('*') != std::string::npos;
    int const length = ndim - static_cast<int>(pattern.symbols.size()) + (run ? 1 : 0);
    if (run && run_ < 0) run_ = length;
    if (length != (run ? run_ : 0) || length < 0) fail_dims(pattern, spec);
    for (char const c : pattern.symbols) {
      if (c != '*') {
        term.letters += c;
        continue;
      }
      for (int i = 0; i < length; ++i) term.letters += static_cast<char>('A' + i);
    }
    for (int d = 0; d < ndim; ++d) require_extent(term.letters[static_cast<std::size_t>(d)], spec.shape[d], spec);
    return term;
  }

  int run() const { return std::max(run_, 0); }

 private:
  [[noreturn]] void fail_dims(Pattern const& pattern, TensorSpec const& spec) const {
    fail({.code = "graph.shard_rule.dims",
          .subject = text("shard rule of ", kind_, ": \"", rule_.letters, "\""),
          .found = text("the term \"", pattern.symbols, "\" for ", spec),
          .expected = "one letter per dim, and '*' for the same number of dims everywhere",
          .fix = "mend the rule, or check the number of dims in infer()"});
  }

  void require_extent(char letter, std::int64_t extent, TensorSpec const& spec) {
    auto const [at, inserted] = extents_.try_emplace(letter, extent);
    if (inserted || at->second == extent) return;
    fail({.code = "graph.shard_rule.extents",
          .subject = text("shard rule of ", kind_, ": \"", rule_.letters, "\""),
          .found = text("letter '", letter, "' is ", at->second, " and, in ", spec, ", ", extent),
          .expected = "one extent per letter",
          .fix = "use two letters, or check the extents in infer()"});
  }

  std::string_view kind_;
  ShardRule const& rule_;
  int run_ = -1;
  std::map<char, std::int64_t> extents_;
};

}  // namespace

bool ExpandedRule::contracted(char letter) const {
  return std::none_of(out.begin(), out.end(),
                      [&](Term const& t) { return t.letters.find(letter) != std::string::npos; });
}

ExpandedRule expand_rule(ShardRule const& rule, std::span<TensorSpec const> in, std::span<TensorSpec const> out,
                         std::string_view kind) {
  auto const parsed = parse(rule, kind);
  require_terms(kind, rule, "inputs", parsed.in.size(), in.size());
  require_terms(kind, rule, "outputs", parsed.out.size(), out.size());
  Expansion expansion(kind, rule);
  ExpandedRule expanded;
  for (std::size_t i = 0; i < in.size(); ++i) expanded.in.push_back(expansion.expand(parsed.in[i], in[i]));
  for (std::size_t o = 0; o < out.size(); ++o) expanded.out.push_back(expansion.expand(parsed.out[o], out[o]));
  for (char const c : parsed.whole) {
    if (c != '*') expanded.whole += c;
    for (int i = 0; c == '*' && i < expansion.run(); ++i) expanded.whole += static_cast<char>('A' + i);
  }
  return expanded;
}

std::vector<std::vector<std::string>> propagate_dims(ExpandedRule const& rule,
                                                     std::span<std::vector<std::string> const> in,
                                                     std::string_view kind) {
  std::map<char, std::string> names;
  for (std::size_t i = 0; i < in.size(); ++i) {
    auto const& letters = rule.in[i].letters;
    for (std::size_t d = 0; d < letters.size() && d < in[i].size(); ++d) {
      if (letters[d] == '.' || in[i][d].empty()) continue;
      auto& name = names[letters[d]];
      if (name.empty()) name = in[i][d];
      if (name == in[i][d]) continue;
      fail({.code = "graph.shard_rule.names",
            .subject = text(kind, ": input ", i, ", dim ", d),
            .found = text("the name '", in[i][d], "' where another operand says '", name, "'"),
            .expected = "one logical name per letter of the shard rule",
            .fix = "give the dims of the parameter the names that its input has, or leave one of them \"\""});
    }
  }
  std::vector<std::vector<std::string>> out;
  for (auto const& term : rule.out) {
    auto& dims = out.emplace_back();
    for (char const c : term.letters) {
      auto const found = names.find(c);
      dims.push_back(found == names.end() ? "" : found->second);
    }
  }
  return out;
}

}  // namespace lamina::graph
