#pragma once

#include <string>

namespace lamina {

/// How this library was built.
struct BuildInformation {
  std::string version;   ///< "0.1.0"
  std::string git;       ///< commit of the source tree, "-dirty" appended when it had changes; "" outside a checkout
  std::string compiler;  ///< "GNU 12.2.0"
  std::string options;   ///< build type, instruction set, back ends
};
BuildInformation const& build_information();

}  // namespace lamina
