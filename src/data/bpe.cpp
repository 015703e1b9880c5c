#include "data/detail/bpe.hpp"

#include <array>
#include <queue>

namespace lamina::data::detail {
namespace {

struct Candidate {
  std::int32_t rank;
  std::int32_t at;  // left symbol
  std::int32_t left, right, merged;
  // Lowest rank first, leftmost of equals.
  bool operator<(Candidate const& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
};

struct Symbol {
  std::int32_t token, before, after;
};

/// Length of the valid UTF-8 sequence at the front of `s`, 0 if there is none; `broken` is then the length of the
/// maximal prefix that one U+FFFD replaces (Unicode 15, table 3-7).
int sequence_length(std::string_view s, int& broken) {
  auto const byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  auto const in = [&](std::size_t i, unsigned low, unsigned high) { return byte(i) >= low && byte(i) <= high; };
  broken = 1;
  auto const b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xC2 && b <= 0xDF) return in(1, 0x80, 0xBF) ? 2 : 0;
  auto const low = b == 0xE0 ? 0xA0u : b == 0xF0 ? 0x90u : 0x80u, high = b == 0xED ? 0x9Fu : b == 0xF4 ? 0x8Fu : 0xBFu;
  int const length = b >= 0xE0 && b <= 0xEF ? 3 : b >= 0xF0 && b <= 0xF4 ? 4 : 0;
  if (length == 0 || !in(1, low, high)) return 0;
  for (int i = 2; i < length; ++i) {
    broken = i;
    if (!in(static_cast<std::size_t>(i), 0x80, 0xBF)) return 0;
  }
  return length;
}

}  // namespace

void Bpe::encode(std::string_view word, std::vector<std::int32_t>& out) const {
  if (!words.empty()) {
    if (auto const found = words.find(std::string(word)); found != words.end()) {
      out.push_back(found->second);
      return;
    }
  }
  std::vector<Symbol> symbols;
  auto const size = static_cast<std::int32_t>(word.size());
  for (std::int32_t i = 0; i < size; ++i) {
    symbols.push_back(
        {byte_token[static_cast<unsigned char>(word[static_cast<std::size_t>(i)])], i - 1, i + 1 < size ? i + 1 : -1});
  }
  std::priority_queue<Candidate> queue;
  auto const offer = [&](std::int32_t at) {
    if (at < 0) return;
    auto const& left = symbols[static_cast<std::size_t>(at)];
    if (left.after < 0) return;
    auto const right = symbols[static_cast<std::size_t>(left.after)].token;
    if (auto const found = merges.find(pair_key(left.token, right)); found != merges.end()) {
      queue.push({found->second.first, at, left.token, right, found->second.second});
    }
  };
  for (std::int32_t i = 0; i < size; ++i) offer(i);
  while (!queue.empty()) {
    auto const best = queue.top();
    queue.pop();
    auto& left = symbols[static_cast<std::size_t>(best.at)];
    if (left.token != best.left || left.after < 0) continue;  // merged away meanwhile
    auto& right = symbols[static_cast<std::size_t>(left.after)];
    if (right.token != best.right) continue;
    left.token = best.merged;
    right.token = -2;
    left.after = right.after;
    if (left.after >= 0) symbols[static_cast<std::size_t>(left.after)].before = best.at;
    offer(left.before);
    offer(best.at);
  }
  for (std::int32_t at = size > 0 ? 0 : -1; at >= 0; at = symbols[static_cast<std::size_t>(at)].after) {
    out.push_back(symbols[static_cast<std::size_t>(at)].token);
  }
}

bool bytes_from_printable(std::string_view text, std::string& bytes) {
  // Printable bytes stand for themselves, the other 68 for U+0100, U+0101, ... in order.
  static auto const table = [] {
    std::array<int, 0x180> t{};
    t.fill(-1);
    std::size_t next = 0x100;
    for (std::size_t b = 0; b < 256; ++b) {
      bool const printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      t[printable ? b : next++] = static_cast<int>(b);
    }
    return t;
  }();
  bytes.clear();
  for (std::size_t i = 0; i < text.size();) {
    int broken = 0;
    int const length = sequence_length(text.substr(i), broken);
    if (length != 1 && length != 2) return false;
    auto const b0 = static_cast<unsigned char>(text[i]);
    std::size_t const code = length == 1 ? b0 : (b0 & 0x1Fu) << 6 | (static_cast<unsigned char>(text[i + 1]) & 0x3Fu);
    if (code >= table.size() || table[code] < 0) return false;
    bytes.push_back(static_cast<char>(table[code]));
    i += static_cast<std::size_t>(length);
  }
  return true;
}

std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    int broken = 0;
    int const length = sequence_length(text.substr(i), broken);
    if (length > 0) {
      out.append(text.substr(i, static_cast<std::size_t>(length)));
      i += static_cast<std::size_t>(length);
    } else {
      out += "\xEF\xBF\xBD";
      i += static_cast<std::size_t>(broken);
    }
  }
  return out;
}

}  // namespace lamina::data::detail
