#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>

namespace lamina {

/// What a tensor is for. Decides its lifetime: parameters, moments, gradients, packed copies, inputs, outputs
/// and caches persist between programs; activations, scratch and messages live inside one.
enum class Role : std::uint8_t {
  input,   // set by the host before a pass
  output,  // read by the host after a pass
  parameter,
  gradient,  // of a parameter; accumulated over the micro-batches of a step
  moment1,
  moment2,
  activation,  // also gradients of activations
  scratch,     // contents mean nothing outside one step
  message,     // sent or received
  packed,      // a copy of a parameter in the form a kernel wants
  cache,       // key/value cache
};

std::string_view name_of(Role r);  ///< "parameter"
std::optional<Role> find_role(std::string_view name);
bool is_persistent(Role r);
std::ostream& operator<<(std::ostream& out, Role r);

}  // namespace lamina
