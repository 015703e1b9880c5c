#include "lamina/io/layout.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::io {
namespace {

bool inside(Shape const& global, Box const& box) {
  if (box.offset.ndim() != global.ndim() || box.extent.ndim() != global.ndim()) return false;
  for (int d = 0; d < global.ndim(); ++d) {
    if (box.offset[d] < 0 || box.extent[d] < 0 || box.offset[d] > global[d] - box.extent[d]) return false;
  }
  return true;
}

void append_runs(Shape const& global, Box const& box, std::int64_t local, std::vector<Run>& runs) {
  auto const count = box.extent.count();
  if (count == 0) return;
  // Trailing dims that the box covers whole are contiguous together with the dim before them.
  int split = global.ndim();
  while (split > 0 && box.extent[split - 1] == global[split - 1]) --split;
  int const outer = std::max(0, split - 1);  // dims that are stepped over; dim `outer` is the one cut, if any
  auto const length = box.extent.count(outer, global.ndim());
  Shape index = box.offset;
  for (std::int64_t done = 0; done < count; done += length) {
    std::int64_t at = 0;
    for (int d = 0; d < global.ndim(); ++d) at = at * global[d] + index[d];
    if (!runs.empty() && runs.back().global + runs.back().count == at &&
        runs.back().local + runs.back().count == local) {
      runs.back().count += length;
    } else {
      runs.push_back({.global = at, .local = local, .count = length});
    }
    local += length;
    for (int d = outer - 1; d >= 0; --d) {
      if (++index[d] < box.offset[d] + box.extent[d]) break;
      index[d] = box.offset[d];
    }
  }
}

}  // namespace

std::vector<Run> runs_of(std::string const& name, Shape const& global, std::span<Box const> boxes) {
  std::vector<Run> runs;
  if (boxes.empty()) {
    if (auto const count = global.count(); count > 0) runs.push_back({.global = 0, .local = 0, .count = count});
    return runs;
  }
  std::int64_t local = 0;
  for (auto const& box : boxes) {
    if (!inside(global, box)) {
      fail({.code = "io.box.outside",
            .subject = name,
            .found = text("a box of extent ", box.extent, " at ", box.offset),
            .expected = text("a box inside ", global),
            .fix = "correct the layout that made the box"});
    }
    append_runs(global, box, local, runs);
    local += box.extent.count();
  }
  return runs;
}

std::int64_t count_of(Shape const& global, std::span<Box const> boxes) {
  if (boxes.empty()) return global.count();
  std::int64_t count = 0;
  for (auto const& box : boxes) count += box.extent.count();
  return count;
}

bool overlap(Box const& a, Box const& b) {
  for (int d = 0; d < a.offset.ndim(); ++d) {
    if (a.offset[d] + a.extent[d] <= b.offset[d] || b.offset[d] + b.extent[d] <= a.offset[d]) return false;
  }
  return a.extent.count() > 0 && b.extent.count() > 0;
}

}  // namespace lamina::io
