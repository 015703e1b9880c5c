#include "program/detail/line.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::program::detail {
namespace {

/// A list in a text must not make the reader allocate more than this, whatever the text says.
constexpr std::size_t max_members = std::size_t{1} << 20;

/// Length of the word at the start of `s`: up to a space outside quotes.
std::size_t word_length(std::string_view s) {
  bool quoted = false;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (quoted && s[i] == '\\') {
      ++i;
    } else if (s[i] == '"') {
      quoted = !quoted;
    } else if (s[i] == ' ' && !quoted) {
      return i;
    }
  }
  return s.size();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

template <class Number>
bool read(std::string_view word, Number& out) {
  auto const [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  return error == std::errc() && end == word.data() + word.size();
}

/// The error's excerpt: printable and short, whatever bytes the line holds.
std::string excerpt(std::string_view s) {
  constexpr std::size_t longest = 72;
  std::string out;
  for (char const c : s.substr(0, longest)) out += (c >= 0x20 && c < 0x7f) ? c : '?';
  return s.size() > longest ? out + "..." : out;
}

}  // namespace

void Line::wrong(std::string_view rule, std::string_view found, std::string_view expected) const {
  fail({.code = text("program.parse.", rule),
        .subject = text("line ", number_, ": ", excerpt(text_)),
        .found = excerpt(found),
        .expected = std::string(expected),
        .fix = "correct that line, or print the program again; the grammar is in src/program/README.md"});
}

void Line::skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

std::string_view Line::peek() const { return rest_.substr(0, word_length(rest_)); }

std::string_view Line::next(std::string_view wanted) {
  if (rest_.empty()) wrong("word", "the end of the line", wanted);
  auto const word = peek();
  rest_.remove_prefix(word.size());
  skip_space();
  return word;
}

std::string Line::name(std::string_view wanted) { return to_text(next(wanted), wanted); }

void Line::expect_id(std::size_t id, std::string_view what) {
  auto const word = next("a number");
  if (std::uint64_t n = 0; !read(word, n) || n != id) wrong("order", word, text(what, " ", id, ", the next in order"));
}

void Line::expect_end() {
  if (!at_end()) wrong("word", peek(), "the end of the line");
}

std::int64_t Line::to_integer(std::string_view word, std::string_view wanted) const {
  std::int64_t n = 0;
  if (!read(word, n)) wrong("number", word, text(wanted, ": an integer of 64 bits"));
  return n;
}

int Line::to_int(std::string_view word, std::string_view wanted) const {
  auto const n = to_integer(word, wanted);
  if (n < std::numeric_limits<int>::min() || n > std::numeric_limits<int>::max()) {
    wrong("number", word, text(wanted, ": an integer of 32 bits"));
  }
  return static_cast<int>(n);
}

std::string Line::to_text(std::string_view word, std::string_view wanted) const {
  if (word.empty() || word.front() != '"') {
    if (word.find('"') != word.npos || word.empty()) wrong("text", word, wanted);
    return std::string(word);
  }
  std::string out;
  for (std::size_t i = 1; i < word.size(); ++i) {
    if (word[i] == '"') {
      if (i + 1 != word.size()) break;
      return out;
    }
    if (word[i] != '\\') {
      out += word[i];
    } else if (i + 1 < word.size() && (word[i + 1] == '"' || word[i + 1] == '\\')) {
      out += word[++i];
    } else if (i + 3 < word.size() && word[i + 1] == 'x' && hex_digit(word[i + 2]) >= 0 &&
               hex_digit(word[i + 3]) >= 0) {
      out += static_cast<char>(hex_digit(word[i + 2]) * 16 + hex_digit(word[i + 3]));
      i += 3;
    } else {
      break;
    }
  }
  wrong("text", word, text(wanted, R"(: quotes at both ends, escapes \" \\ \xHH only)"));
}

Shape Line::to_shape(std::string_view word) const {
  constexpr std::string_view wanted = "a shape such as [2,3], at most 6 extents, none negative";
  if (word.size() < 2 || word.front() != '[' || word.back() != ']') wrong("shape", word, wanted);
  Shape s;
  auto inner = word.substr(1, word.size() - 2);
  while (!inner.empty()) {
    auto const comma = std::min(inner.find(','), inner.size());
    std::int64_t extent = 0;
    if (!read(inner.substr(0, comma), extent) || extent < 0 || s.ndim() == Shape::max_dims)
      wrong("shape", word, wanted);
    s.push_back(extent);
    if (comma + 1 == inner.size()) wrong("shape", word, wanted);
    inner.remove_prefix(std::min(comma + 1, inner.size()));
  }
  return s;
}

TensorSpec Line::to_spec(std::string_view word) const {
  auto const bracket = std::min(word.find('['), word.size());
  auto const dtype = find_dtype(word.substr(0, bracket));
  if (!dtype) wrong("dtype", word, "a tensor such as f32[2,3]");
  return {*dtype, to_shape(word.substr(bracket))};
}

Attribute Line::to_attribute(std::string_view word) const {
  constexpr std::string_view wanted = R"(an integer, a real with '.' or exponent, or "text")";
  if (!word.empty() && word.front() == '"') return to_text(word, wanted);
  if (word == "inf" || word == "-inf" || word == "nan") {
    return word == "nan" ? std::nan("") : word == "inf" ? HUGE_VAL : -HUGE_VAL;
  }
  if (std::int64_t n = 0; read(word, n)) return n;
  if (double d = 0; word.find_first_of(".e") != word.npos && read(word, d)) return d;
  wrong("number", word, wanted);
}

std::vector<int> Line::to_list(std::string_view word) const {
  std::vector<int> out;
  for (;;) {
    auto const comma = std::min(word.find(','), word.size());
    out.push_back(to_int(word.substr(0, comma), "a list of ids such as 3,5"));
    if (comma == word.size()) return out;
    word.remove_prefix(comma + 1);
  }
}

void Line::add_ranges(std::string_view word, std::vector<int>& out) const {
  constexpr std::string_view wanted = "ranks such as 0-7,9,16-64/16";
  for (;;) {
    auto const comma = std::min(word.find(','), word.size());
    auto const item = word.substr(0, comma);
    auto const dash = item.find('-', 1);
    auto const slash = std::min(item.find('/'), item.size());
    std::int64_t const first = to_int(item.substr(0, std::min(dash, item.size())), wanted);
    std::int64_t last = first, stride = 1;
    if (dash != item.npos) {
      if (slash < dash) wrong("number", item, wanted);
      last = to_int(item.substr(dash + 1, slash - dash - 1), wanted);
      if (slash < item.size()) stride = to_int(item.substr(slash + 1), wanted);
    } else if (slash < item.size()) {
      wrong("number", item, wanted);
    }
    if (stride < 1 || last < first || (last - first) % stride != 0) wrong("number", item, wanted);
    if (static_cast<std::size_t>((last - first) / stride) + out.size() >= max_members) {
      wrong("limit", item, text("at most ", max_members, " members"));
    }
    for (auto r = first; r <= last; r += stride) out.push_back(static_cast<int>(r));
    if (comma == word.size()) return;
    word.remove_prefix(comma + 1);
  }
}

Line::Field Line::field() {
  auto const word = next("key=value");
  // A quoted key (of an attribute) may hold '='.
  std::size_t equals = 0;
  for (bool quoted = false; equals < word.size() && (quoted || word[equals] != '='); ++equals) {
    if (quoted && word[equals] == '\\') {
      ++equals;
    } else if (word[equals] == '"') {
      quoted = !quoted;
    }
  }
  if (equals >= word.size()) wrong("field", word, "key=value");
  Field const f{word.substr(0, equals), word.substr(equals + 1)};
  if (std::ranges::find(keys_, f.key) != keys_.end()) wrong("field", word, text("'", f.key, "' once"));
  keys_.push_back(f.key);
  return f;
}

}  // namespace lamina::program::detail
