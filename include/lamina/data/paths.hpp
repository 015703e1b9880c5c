#pragma once

#include <string>

/// Paths as people write them in a run file or on a command line.
namespace lamina::data {

/// A leading "~" or "~user" replaced by that home directory, as a shell does; anything else, a name that exists as
/// written, and a user nobody knows stay as they are.
std::string without_tilde(std::string const& path);

/// A path that means the same from every working directory: tilde replaced, absolute, normal form.
std::string absolute_path(std::string const& path);

/// The same for a pattern (*, ?, [..], {..}) of data files. Only what the user wrote is a pattern: special characters
/// of the working or home directory are escaped with '\'. A name that exists as written is no pattern and comes out as
/// absolute_path gives it. absolute_pattern(absolute_pattern(p)) == absolute_pattern(p).
std::string absolute_pattern(std::string const& pattern);

}  // namespace lamina::data
