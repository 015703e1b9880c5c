#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/tensor/attributes.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::program::detail {

/// One line of the text form, read word by word. Every failure is an Error "program.parse.<rule>" with the line number.
class Line {
 public:
  Line(std::string_view text, std::int64_t number) : text_(text), rest_(text), number_(number) { skip_space(); }

  bool at_end() const { return rest_.empty(); }
  /// Next word without consuming it; quotes are part of the word.
  std::string_view peek() const;
  /// Next word; `wanted` says in words what should have been there.
  std::string_view next(std::string_view wanted);
  /// Next word as a text: bare, or quoted with escapes.
  std::string name(std::string_view wanted);
  std::int64_t integer(std::string_view wanted) { return to_integer(next(wanted), wanted); }
  int id(std::string_view wanted) { return to_int(next(wanted), wanted); }
  /// Next word must be this number: items are listed in the order of their ids.
  void expect_id(std::size_t id, std::string_view what);
  void expect_end();

  std::int64_t to_integer(std::string_view word, std::string_view wanted) const;
  int to_int(std::string_view word, std::string_view wanted) const;
  std::string to_text(std::string_view word, std::string_view wanted) const;
  Shape to_shape(std::string_view word) const;
  TensorSpec to_spec(std::string_view word) const;
  Attribute to_attribute(std::string_view word) const;
  std::vector<int> to_list(std::string_view word) const;  ///< "3,5"
  void add_ranges(std::string_view word, std::vector<int>& out) const;

  struct Field {
    std::string_view key, value;
  };
  /// Next word as key=value. A key that came before on this line is an error.
  Field field();

  [[noreturn]] void wrong(std::string_view rule, std::string_view found, std::string_view expected) const;

 private:
  void skip_space();

  std::string_view text_, rest_;
  std::int64_t number_;
  std::vector<std::string_view> keys_;
};

}  // namespace lamina::program::detail
