#include "lamina/tensor/role.hpp"

#include <array>
#include <ostream>

namespace lamina {
namespace {

constexpr std::array<std::string_view, 11> names{"input",      "output",  "parameter", "gradient", "moment1", "moment2",
                                                 "activation", "scratch", "message",   "packed",   "cache"};

}  // namespace

std::string_view name_of(Role r) { return names[static_cast<std::size_t>(r)]; }

std::optional<Role> find_role(std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Role>(i);
  }
  return std::nullopt;
}

bool is_persistent(Role r) { return r != Role::activation && r != Role::scratch && r != Role::message; }

std::ostream& operator<<(std::ostream& out, Role r) { return out << name_of(r); }

}  // namespace lamina
