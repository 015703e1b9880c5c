#include "lamina/tensor/attributes.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina {
namespace {

[[noreturn]] void fail_type(std::string_view name, char const* wanted) {
  fail({.code = "tensor.attribute.type",
        .subject = text("attribute '", name, "'"),
        .found = "a value of another type",
        .expected = wanted,
        .fix = "correct the operator, or the program text that was read"});
}

[[noreturn]] void fail_missing(std::string_view name) {
  fail({.code = "tensor.attribute.missing",
        .subject = text("attribute '", name, "'"),
        .found = "no such attribute",
        .expected = "the attribute is set",
        .fix = "correct the operator, or the program text that was read"});
}

}  // namespace

Attributes::Attributes(std::initializer_list<std::pair<std::string, Attribute>> items) {
  for (auto const& [name, value] : items) set(name, value);
}

Attributes& Attributes::set(std::string name, Attribute value) {
  auto const at = std::ranges::lower_bound(items_, name, {}, &std::pair<std::string, Attribute>::first);
  if (at != items_.end() && at->first == name) {
    at->second = std::move(value);
  } else {
    items_.emplace(at, std::move(name), std::move(value));
  }
  return *this;
}

Attribute const* Attributes::find(std::string_view name) const {
  auto const at = std::ranges::lower_bound(items_, name, {}, [](auto const& i) { return std::string_view(i.first); });
  return at != items_.end() && at->first == name ? &at->second : nullptr;
}

std::int64_t Attributes::integer(std::string_view name, std::int64_t otherwise) const {
  auto const* value = find(name);
  if (!value) return otherwise;
  if (auto const* i = std::get_if<std::int64_t>(value)) return *i;
  fail_type(name, "an integer");
}

double Attributes::real(std::string_view name, double otherwise) const {
  auto const* value = find(name);
  if (!value) return otherwise;
  if (auto const* d = std::get_if<double>(value)) return *d;
  if (auto const* i = std::get_if<std::int64_t>(value)) return static_cast<double>(*i);
  fail_type(name, "a real number");
}

std::string Attributes::string(std::string_view name, std::string otherwise) const {
  if (has(name)) return string(name);
  return otherwise;
}

std::int64_t Attributes::integer(std::string_view name) const {
  if (!has(name)) fail_missing(name);
  return integer(name, 0);
}

double Attributes::real(std::string_view name) const {
  if (!has(name)) fail_missing(name);
  return real(name, 0);
}

std::string const& Attributes::string(std::string_view name) const {
  auto const* value = find(name);
  if (!value) fail_missing(name);
  if (auto const* s = std::get_if<std::string>(value)) return *s;
  fail_type(name, "text");
}

}  // namespace lamina
