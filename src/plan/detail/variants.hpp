#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"

namespace lamina::plan {

/// One setting of the run file with another value.
struct Change {
  enum Key : int { mesh = -1, sequence_parallel, schedule, zero, micro, recompute };
  std::string setting;  ///< "parallel.zero = 2"
  Key key = mesh;       ///< of two changes with the same key one may be taken
  void (*apply)(config::RunConfig&, std::int64_t) = nullptr;
  std::int64_t value = 0;
};

inline constexpr std::int64_t meshes_in_one = 1 << 16;  ///< more than a world has ranks: tp and pp in one number

/// What brings memory down without changing what is computed, gentle ones first.
std::vector<Change> memory_changes(config::RunConfig const& config);
/// Other ways to divide the ranks: more of tp and pp, less of dp.
std::vector<Change> mesh_changes(config::RunConfig const& config, std::int64_t world);

/// All sets of `count` changes, no two with the same key; indices in rising order.
std::vector<std::vector<int>> combinations(std::vector<Change> const& changes, int count);

}  // namespace lamina::plan
