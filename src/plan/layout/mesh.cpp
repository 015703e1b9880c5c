#include "plan/detail/mesh.hpp"

#include <algorithm>
#include <numeric>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::plan {
namespace {

constexpr std::int64_t max_world = 4096;  // what program::verify promises

std::vector<std::int64_t> divisors(std::int64_t n) {
  std::vector<std::int64_t> all;
  for (std::int64_t d = 1; d <= n; ++d) {
    if (n % d == 0) all.push_back(d);
  }
  return all;
}

}  // namespace

int Mesh::world() const { return std::accumulate(sizes.begin(), sizes.end(), 1, std::multiplies<>{}); }

int Mesh::find_axis(std::string_view axis) const {
  auto const at = std::find(axes.begin(), axes.end(), axis);
  return at == axes.end() ? -1 : static_cast<int>(at - axes.begin());
}

int Mesh::size(std::string_view axis) const {
  int const a = find_axis(axis);
  return a < 0 ? 1 : sizes[static_cast<std::size_t>(a)];
}

std::vector<int> Mesh::coordinates(int rank) const {
  std::vector<int> at(axes.size());
  for (std::size_t a = axes.size(); a-- > 0;) at[a] = rank % sizes[a], rank /= sizes[a];
  return at;
}

std::vector<int> Mesh::members(std::string_view axis, int rank) const {
  int const a = find_axis(axis);
  if (a < 0) return {rank};
  int stride = 1;
  for (std::size_t i = static_cast<std::size_t>(a) + 1; i < sizes.size(); ++i) stride *= sizes[i];
  int const n = sizes[static_cast<std::size_t>(a)], first = rank - rank / stride % n * stride;
  std::vector<int> ranks(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) ranks[static_cast<std::size_t>(i)] = first + i * stride;
  return ranks;
}

std::vector<int> Mesh::all() const {
  std::vector<int> ranks(static_cast<std::size_t>(world()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

Mesh make_mesh(config::Mesh const& mesh, std::int64_t world) {
  if (world < 1 || world > max_world) {
    fail({.code = "plan.mesh.world",
          .subject = "the number of ranks",
          .found = text(world),
          .expected = text("1 to ", max_world),
          .fix = "plan for a world in this range"});
  }
  auto const dp = mesh.dp == 0 ? std::max<std::int64_t>(1, world / (mesh.tp * mesh.pp)) : mesh.dp;  // 0: "auto"
  if (dp * mesh.tp * mesh.pp != world) {
    fail({.code = "plan.mesh.product",
          .subject = "the mesh does not fit the ranks",
          .found = text("mesh.dp = ", dp, ", mesh.tp = ", mesh.tp, ", mesh.pp = ", mesh.pp, ", ranks = ", world),
          .expected = "mesh.dp * mesh.tp * mesh.pp = ranks",
          .fix = text("set mesh.dp = \"auto\" (here ", world / (mesh.tp * mesh.pp), "; divisors of the ranks: ",
                      join(divisors(world)), "), or start ", dp * mesh.tp * mesh.pp, " ranks")});
  }
  auto sorted = mesh.order;
  std::sort(sorted.begin(), sorted.end());
  if (sorted != std::vector<std::string>{"dp", "pp", "tp"}) {
    fail({.code = "plan.mesh.order",
          .subject = "mesh.order",
          .found = join(mesh.order),
          .expected = "each of pp, dp, tp once",
          .fix = "set mesh.order = [\"pp\", \"dp\", \"tp\"]"});
  }
  Mesh result;
  for (auto const& axis : mesh.order) {
    result.axes.push_back(axis);
    result.sizes.push_back(static_cast<int>(axis == "dp" ? dp : axis == "tp" ? mesh.tp : mesh.pp));
  }
  return result;
}

}  // namespace lamina::plan
