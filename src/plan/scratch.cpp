#include <algorithm>

#include "lamina/tensor/reduction.hpp"
#include "plan/detail/memory.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {
namespace {

bool reduces(program::Step const& step) {
  return step.kind == program::StepKind::all_reduce || step.kind == program::StepKind::reduce_scatter;
}

std::int64_t bytes_of(program::Template const& shape, std::vector<int> const& buffers) {
  std::int64_t bytes = 0;
  for (int const b : buffers) bytes += shape.buffers[static_cast<std::size_t>(b)].spec.bytes();
  return bytes;
}

/// A group keeps what its largest reductions need, and beside it what its small ones do.
std::int64_t kept_by(program::Template const& shape, int group, int ranks) {
  bool large = false, small = false;
  for (auto const& p : shape.programs) {
    for (auto const& step : p.steps) {
      if (step.group != group || !reduces(step)) continue;
      bool const cut = step.kind == program::StepKind::reduce_scatter ||  // in pieces, however few
                       bytes_of(shape, step.in) > small_reduction_bytes;
      (cut ? large : small) = true;
    }
  }
  return (large ? reduction_scratch_bytes(ranks) : 0) + (small ? small_reduction_scratch_bytes(ranks) : 0);
}

}  // namespace

std::vector<GroupScratch> communication_scratch(Plan const& plan) {
  std::vector<GroupScratch> all;
  if (plan.mesh.world() == 1) return all;
  auto const& shape = *plan.shapes.front();
  auto const members = plan.binding(0).members;
  for (std::size_t g = 0; g < shape.groups.size(); ++g) {
    auto const ranks = static_cast<int>(members[g].size());
    all.push_back({shape.groups[g].name, ranks, kept_by(shape, static_cast<int>(g), ranks)});
  }
  auto const world = static_cast<int>(plan.mesh.world());
  all.push_back({"world", world, small_reduction_scratch_bytes(world)});
  return all;
}

std::int64_t communication_scratch_bytes(Plan const& plan) {
  std::int64_t bytes = 0;
  for (auto const& group : communication_scratch(plan)) bytes += group.bytes;
  return bytes;
}

}  // namespace lamina::plan
