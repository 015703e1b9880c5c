#pragma once

#include <cstddef>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace lamina {

/// Concatenates anything that has `operator<<`: text("rank ", 3, " of ", n).
template <class... Ts>
std::string text(Ts const&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

/// "a, b, c". Elements need `operator<<`.
template <class Range>
std::string join(Range const& items, std::string_view separator = ", ") {
  std::ostringstream out;
  std::string_view before;
  for (auto const& item : items) out << before << item, before = separator;
  return std::move(out).str();
}

/// The pieces between separators; "" gives one empty piece.
std::vector<std::string> split(std::string_view s, char separator);

/// Without white space at both ends.
std::string_view trim(std::string_view s);

/// The candidate with the smallest edit distance to `word`, if that is at most a third of the longer
/// of the two (rounded up); "" otherwise. First of equals.
std::string closest(std::string_view word, std::vector<std::string> const& candidates);

/// Shortest decimal text that reads back to the same double; always has '.', 'e', "inf" or "nan".
std::string exact(double x);

/// Damerau-Levenshtein (optimal string alignment) distance.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace lamina
