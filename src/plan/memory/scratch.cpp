#include <algorithm>

#include "lamina/tensor/reduction.hpp"
#include "plan/detail/memory.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {
namespace {

using program::StepKind;

bool exchanges(program::Step const& step) {
  return step.kind == StepKind::all_reduce || step.kind == StepKind::reduce_scatter ||
         step.kind == StepKind::all_gather;
}

std::int64_t bytes_of(program::Template const& shape, std::vector<int> const& buffers) {
  std::int64_t bytes = 0;
  for (int const b : buffers) bytes += shape.buffers[static_cast<std::size_t>(b)].spec.bytes();
  return bytes;
}

/// A group keeps what its large exchanges need, and beside it what its small ones do.
std::int64_t kept_by(program::Template const& shape, int group, int ranks) {
  bool large = false, small = false;
  for (auto const& p : shape.programs) {
    for (auto const& step : p.steps) {
      if (step.group != group || !exchanges(step)) continue;
      bool const cut = step.kind != StepKind::all_reduce ||  // in pieces, however few
                       bytes_of(shape, step.in) > direct_reduction_bytes(ranks);
      (cut ? large : small) = true;
    }
  }
  return (large ? reduction_scratch_bytes(ranks) : 0) + (small ? small_reduction_scratch_bytes(ranks) : 0);
}

}  // namespace

std::vector<GroupScratch> communication_scratch(Plan const& plan, std::size_t kind) {
  std::vector<GroupScratch> all;
  auto const world = static_cast<int>(plan.mesh.world());
  if (world == 1) return all;
  auto const& shape = *plan.shapes[kind];
  int rank = 0;
  while (plan.shape_of(rank) != static_cast<int>(kind)) ++rank;
  for (std::size_t g = 0; g < shape.groups.size(); ++g) {
    auto const ranks = static_cast<int>(plan.members(shape.groups[g], rank).size());
    all.push_back({shape.groups[g].name, ranks, kept_by(shape, static_cast<int>(g), ranks)});
  }
  all.push_back({"world", world, small_reduction_scratch_bytes(world)});
  return all;
}

std::int64_t communication_scratch_bytes(Plan const& plan, std::size_t kind) {
  std::int64_t bytes = 0;
  for (auto const& group : communication_scratch(plan, kind)) bytes += group.bytes;
  return bytes;
}

std::int64_t kind_bytes(Plan const& plan, std::size_t kind) {
  auto bytes = communication_scratch_bytes(plan, kind);
  for (auto const space : plan.shapes[kind]->arena_bytes) bytes += space;
  return bytes;
}

}  // namespace lamina::plan
