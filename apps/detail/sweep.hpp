#pragma once

#include <string>
#include <vector>

namespace lamina::apps {

/// One --over: a key, or a section, and the values that are tried.
struct Over {
  std::string key;                  ///< "pipeline.schedule", "mesh"
  std::vector<std::string> values;  ///< "1f1b"; of a section: "dp=2,tp=1"
};

/// "mesh=dp=2|tp=2", "pipeline.stages=auto|[7, 5]". Bars and commas inside brackets and quotes separate nothing.
/// @throws Error "app.sweep.over".
Over parse_over(std::string const& argument);

/// The keys that a value of an --over sets, as --set takes them: "mesh.dp=2".
/// @throws Error "app.sweep.over".
std::vector<std::string> overrides_of(Over const& over, std::string const& value);

/// All combinations of the values, one per --over, the last one changing fastest.
std::vector<std::vector<std::string>> combinations(std::vector<Over> const& overs);

}  // namespace lamina::apps
