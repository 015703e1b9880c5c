// Who holds what of parameters, gradients and moments: ZeRO (Rajbhandari et al., 2020) over replicas.
#include <algorithm>
#include <set>

#include "lamina/base/text.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {

FlatRows flat_rows(Shape const& shape) {
  if (shape.ndim() <= 1) return {shape.count(), 1};
  auto const width = std::max<std::int64_t>(1, shape.back());
  return {shape.count() / width, width};
}

std::vector<std::int64_t> row_bounds(std::int64_t rows, int parts) {
  std::vector<std::int64_t> bounds{0};
  for (int p = 0; p < parts; ++p) bounds.push_back(bounds.back() + rows / parts + (p < rows % parts ? 1 : 0));
  return bounds;
}

std::string rows_text(std::vector<std::int64_t> const& bounds) {
  std::string out;
  for (auto const b : bounds) (out += out.empty() ? "" : ",") += std::to_string(b);
  return out;
}

std::vector<int> const& Plan::holders_of(std::string const& parameter) const {
  static std::vector<int> const nobody;
  auto const found = holders.find(parameter);
  return found == holders.end() ? nobody : found->second;
}

Storage Plan::storage(Part const& part, graph::Value const& value, int replica) const {
  auto const local = local_spec(part, value.id);
  bool is_part = false;
  switch (value.role) {
    case Role::moment1:
    case Role::moment2:
      is_part = zero >= 1;
      break;
    case Role::gradient:
      is_part = zero >= 2;
      break;
    case Role::parameter:
      is_part = zero == 3 || (zero >= 1 && !masters.contains(value.name));
      break;
    default:
      break;
  }
  if (!is_part) return {local, false};
  auto const flat = flat_rows(local.shape);
  auto const bounds = row_bounds(flat.rows, mesh.size("dp"));
  auto const own = bounds[static_cast<std::size_t>(replica) + 1] - bounds[static_cast<std::size_t>(replica)];
  return {{local.dtype, local.shape.ndim() <= 1 ? Shape{own} : Shape{own, flat.width}}, true};
}

namespace {

/// The flat rows [from, to) of `box` as boxes of the global tensor: a range of elements in row-major order falls apart
/// into at most 2 n - 1 boxes.
void add_boxes(program::Hyperslab const& box, int dim, std::int64_t from, std::int64_t to, program::Hyperslab prefix,
               std::vector<program::Hyperslab>& out) {
  if (from >= to) return;
  auto const last = box.extent.ndim() - 1;
  auto const inner = box.extent.count(dim + 1, box.extent.ndim());  // elements of one step of this dim
  auto const emit = [&](std::int64_t first, std::int64_t count) {
    auto piece = prefix;
    piece.offset[dim] = box.offset[dim] + first, piece.extent[dim] = count;
    for (int d = dim + 1; d <= last; ++d) piece.offset[d] = box.offset[d], piece.extent[d] = box.extent[d];
    out.push_back(piece);
  };
  auto const first = from / inner, end = to / inner;
  auto const head = from % inner, tail = to % inner;
  auto const descend = [&](std::int64_t index, std::int64_t a, std::int64_t b) {
    auto deeper = prefix;
    deeper.offset[dim] = box.offset[dim] + index, deeper.extent[dim] = 1;
    add_boxes(box, dim + 1, a, b, deeper, out);
  };
  if (first == end) return descend(first, head, tail);
  if (head > 0) descend(first, head, inner);
  if (auto const whole = head > 0 ? first + 1 : first; whole < end) emit(whole, end - whole);
  if (tail > 0) descend(end, 0, tail);
}

}  // namespace

std::vector<program::Hyperslab> slabs_of(Plan const& plan, Part const& part, graph::Value const& value, int rank) {
  auto const& layout = plan.local_spec(part, value.id);
  auto const& shape = value.spec.shape;
  program::Hyperslab box;
  box.offset = shape, box.extent = layout.shape;
  bool whole = true;
  for (int d = 0; d < shape.ndim(); ++d) box.offset[d] = 0;
  auto const& axes =
      plan.parts.empty() ? std::vector<AxisLayout>{} : part.layouts.values[static_cast<std::size_t>(value.id)].axes;
  for (std::size_t a = 0; a < axes.size(); ++a) {
    if (axes[a].split != Split::shard) continue;
    auto const d = axes[a].dim;
    box.offset[d] = std::min(shape[d], plan.coordinate(rank, plan.mesh.axes[a]) * box.extent[d]);
    box.extent[d] = std::min(box.extent[d], shape[d] - box.offset[d]);  // what is beyond is padding
    whole = false;
  }
  int const replica = plan.coordinate(rank, "dp");
  auto const storage = plan.storage(part, value, replica);
  if (!storage.part) return whole ? std::vector<program::Hyperslab>{} : std::vector<program::Hyperslab>{box};
  auto const flat = flat_rows(layout.shape);
  auto const bounds = row_bounds(flat.rows, plan.mesh.size("dp"));
  auto const end = box.extent.count();
  auto const from = std::min(end, bounds[static_cast<std::size_t>(replica)] * flat.width);
  auto const to = std::min(end, bounds[static_cast<std::size_t>(replica) + 1] * flat.width);
  std::vector<program::Hyperslab> boxes;
  add_boxes(box, 0, from, to, box, boxes);
  if (boxes.empty()) {  // nothing but padding, or no row at all: a box of nothing, since no box means everything
    for (int d = 0; d < box.extent.ndim(); ++d) box.offset[d] = 0, box.extent[d] = 0;
    boxes.push_back(box);
  }
  return boxes;
}

void make_kinds(Plan& plan) {
  int const replicas = plan.mesh.size("dp"), stages = plan.mesh.size("pp");
  // Replicas differ in their number of micro-batches and, where rows do not divide, in how many they hold of a tensor
  // of their stage: the first `rows % replicas` have one more.
  std::vector<std::set<std::int64_t>> thresholds(static_cast<std::size_t>(stages));
  for (auto const& part : plan.parts) {
    for (auto const& v : part.graph.values()) {
      bool const held = v.role == Role::parameter || v.role == Role::gradient || v.role == Role::moment1;
      if (!held || v.accumulates_into >= 0 || v.overwrites >= 0 || plan.zero == 0) continue;
      auto const more = flat_rows(plan.local_spec(part, v.id).shape).rows % replicas;
      for (int const s : plan.holders_of(v.name)) thresholds[static_cast<std::size_t>(s)].insert(more);
    }
  }
  std::map<std::vector<std::int64_t>, int> known;
  plan.kind_of.assign(static_cast<std::size_t>(stages) * replicas, -1);
  for (int s = 0; s < stages; ++s) {
    for (int r = 0; r < replicas; ++r) {
      std::vector<std::int64_t> key{s, plan.micro_batches[static_cast<std::size_t>(r)]};
      for (auto const t : thresholds[static_cast<std::size_t>(s)]) key.push_back(r < t);
      auto const [at, is_new] = known.try_emplace(std::move(key), static_cast<int>(plan.kinds.size()));
      if (is_new) plan.kinds.push_back({s, r, plan.micro_batches[static_cast<std::size_t>(r)]});
      plan.kind_of[static_cast<std::size_t>(s * replicas + r)] = at->second;
    }
  }
}

}  // namespace lamina::plan
