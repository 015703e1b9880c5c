#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lamina {

/// One attribute of an operator or a step. A bool is stored as the integer 0 or 1.
using Attribute = std::variant<std::int64_t, double, std::string>;

/// Named attributes, kept sorted by name, so that equal sets compare, print and hash equal.
class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<std::string, Attribute>> items);

  Attributes& set(std::string name, Attribute value);
  bool has(std::string_view name) const { return find(name) != nullptr; }
  Attribute const* find(std::string_view name) const;

  /// Value or default; a stored integer converts to real. @throws Error "tensor.attribute.type" when it is
  /// there with another type, "tensor.attribute.missing" when it is absent and no default was given.
  std::int64_t integer(std::string_view name) const;
  std::int64_t integer(std::string_view name, std::int64_t otherwise) const;
  double real(std::string_view name) const;
  double real(std::string_view name, double otherwise) const;
  std::string const& string(std::string_view name) const;
  std::string string(std::string_view name, std::string otherwise) const;

  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  bool empty() const { return items_.empty(); }
  friend bool operator==(Attributes const&, Attributes const&) = default;

 private:
  std::vector<std::pair<std::string, Attribute>> items_;
};

}  // namespace lamina
