#pragma once

#include <cerrno>
#include <cstdint>
#include <source_location>
#include <string>

#include "lamina/base/fault.hpp"

/// How a failed system call becomes an Error.
namespace lamina::io::detail {

/// The errno that a fault point asks for, or 0.
inline int injected(fault::Action action) {
  if (action == fault::Action::no_space) return ENOSPC;
  if (action == fault::Action::io_error) return EIO;
  return 0;
}

[[noreturn]] void fail_errno(std::string code, std::string const& path, std::string const& call, int error,
                             std::source_location at = std::source_location::current());

/// For calls that need space: a full disk or an exhausted quota is "io.file.no_space" with bytes needed and free, the
/// rest "io.file.write".
[[noreturn]] void fail_write(std::string const& path, std::string const& call, std::int64_t bytes, int error,
                             std::source_location at = std::source_location::current());

/// "io.file.no_space": `reason`, then bytes needed and free.
[[noreturn]] void fail_no_space(std::string const& path, std::string const& reason, std::int64_t bytes,
                                std::source_location at = std::source_location::current());

}  // namespace lamina::io::detail
