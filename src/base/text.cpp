#include "lamina/base/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>
#include <utility>

namespace lamina {
namespace detail {

std::string concatenate(std::initializer_list<Part> parts) {
  std::ostringstream out;
  for (auto const& part : parts) part.write(out, part.value);
  return std::move(out).str();
}

void write_words(std::ostream& out, void const* words) { out << static_cast<char const*>(words); }

}  // namespace detail

std::vector<std::string> split(std::string_view s, char separator) {
  std::vector<std::string> pieces;
  for (;;) {
    auto const at = s.find(separator);
    pieces.emplace_back(s.substr(0, at));
    if (at == s.npos) return pieces;
    s.remove_prefix(at + 1);
  }
}

std::string_view trim(std::string_view s) {
  constexpr std::string_view space = " \t\r\n\f\v";
  auto const first = s.find_first_not_of(space);
  if (first == s.npos) return {};
  return s.substr(first, s.find_last_not_of(space) - first + 1);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::string closest(std::string_view word, std::vector<std::string> const& candidates) {
  std::string best;
  std::size_t best_distance = std::string::npos;
  for (auto const& candidate : candidates) {
    auto const distance = edit_distance(word, candidate);
    auto const limit = (std::max(word.size(), candidate.size()) + 2) / 3;
    if (distance <= limit && distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

std::string exact(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  char digits[64];
  auto const end = std::to_chars(digits, digits + sizeof digits, x).ptr;
  std::string s(digits, end);
  if (s.find_first_of(".e") == s.npos) s += ".0";
  return s;
}

}  // namespace lamina
