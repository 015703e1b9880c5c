#pragma once

#include <cstddef>
#include <initializer_list>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace lamina {

namespace detail {

/// A value and how it is written: with this `text` is compiled once, not for every combination of types.
struct Part {
  void const* value;
  void (*write)(std::ostream& out, void const* value);
};

std::string concatenate(std::initializer_list<Part> parts);
void write_words(std::ostream& out, void const* words);

template <class T>
Part part_of(T const& x) {
  if constexpr (std::is_same_v<std::decay_t<T>, char*> || std::is_same_v<std::decay_t<T>, char const*>) {
    return {static_cast<char const*>(x), write_words};
  } else {
    return {&x, [](std::ostream& out, void const* value) { out << *static_cast<T const*>(value); }};
  }
}

}  // namespace detail

/// Concatenates anything that has `operator<<`: text("rank ", 3, " of ", n).
template <class... Ts>
std::string text(Ts const&... parts) {
  return detail::concatenate({detail::part_of(parts)...});
}

/// "a, b, c". Elements need `operator<<`.
template <class Range>
std::string join(Range const& items, std::string_view separator = ", ") {
  std::string out;
  std::string_view before;
  for (auto const& item : items) out += text(before, item), before = separator;
  return out;
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
