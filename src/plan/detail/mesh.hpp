#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/config/run_config.hpp"

namespace lamina::plan {

/// The ranks as a box with named axes, outermost first: rank = ((c0 * n1) + c1) * n2 + c2 for run.order's axes.
struct Mesh {
  std::vector<std::string> axes;
  std::vector<int> sizes;

  int world() const;
  /// Index of an axis, or -1.
  int find_axis(std::string_view axis) const;
  /// Ranks along an axis; 1 for an axis that the mesh does not have.
  int size(std::string_view axis) const;
  std::vector<int> coordinates(int rank) const;
  /// The ranks that differ from `rank` only along `axis`, in world order; `rank` is among them.
  std::vector<int> members(std::string_view axis, int rank) const;
  std::vector<int> all() const;
};

/// @throws Error "plan.mesh.*" when the product of the axes is not the world size, or the order does not name each axis
/// once.
Mesh make_mesh(config::Mesh const& mesh, std::int64_t world);

}  // namespace lamina::plan
