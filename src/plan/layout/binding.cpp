// What one rank has of its own: coordinates, members of its groups, boxes of the global tensors.
#include <algorithm>

#include "lamina/base/text.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {
namespace {

/// pp coordinates in a group's name: "pp.0>1", "tie.0+3"; none for the others.
std::vector<int> coordinates_of(std::string const& name) {
  std::vector<int> result;
  auto const dot = name.find('.');
  if (dot == std::string::npos) return result;
  int number = -1;
  for (std::size_t i = dot + 1; i <= name.size(); ++i) {
    bool const digit = i < name.size() && name[i] >= '0' && name[i] <= '9';
    if (digit) {
      number = std::max(number, 0) * 10 + (name[i] - '0');
    } else if (number >= 0) {
      result.push_back(std::exchange(number, -1));
    }
  }
  return result;
}

}  // namespace

int Plan::coordinate(int rank, std::string_view axis) const {
  int const a = mesh.find_axis(axis);
  return a < 0 ? 0 : mesh.coordinates(rank)[static_cast<std::size_t>(a)];
}

int Plan::shape_of(int rank) const {
  return kind_of[static_cast<std::size_t>(coordinate(rank, "pp") * mesh.size("dp") + coordinate(rank, "dp"))];
}

std::vector<int> Plan::members(program::Group const& group, int rank) const {
  if (group.axis.empty()) return mesh.all();
  auto const along = mesh.members(group.axis, rank);
  auto const chosen = coordinates_of(group.name);
  if (chosen.empty()) return along;
  std::vector<int> result;
  for (int const c : chosen) result.push_back(along[static_cast<std::size_t>(c)]);
  std::sort(result.begin(), result.end());
  return result;
}

program::Binding Plan::binding(int rank) const {
  auto const& shape = *shapes[static_cast<std::size_t>(shape_of(rank))];
  program::Binding b;
  b.rank = rank, b.world = mesh.world();
  b.axes = mesh.axes;
  b.coordinates = mesh.coordinates(rank);
  for (auto const& g : shape.groups) b.members.push_back(members(g, rank));
  if (parts.empty() || mesh.world() == 1) return b;  // every rank holds all of every tensor
  auto const is_held = [](program::Buffer const& buffer) {
    return buffer.role == Role::parameter || buffer.role == Role::gradient || buffer.role == Role::moment1 ||
           buffer.role == Role::moment2;
  };
  // Persistent buffers come first, some hundreds before thousands of others.
  auto const last = std::find_if(shape.buffers.begin(), shape.buffers.end(),
                                 [](program::Buffer const& buffer) { return buffer.program >= 0; });
  bool any = false;
  for (auto each = shape.buffers.begin(); each != last; ++each) {
    auto const& buffer = *each;
    auto& slabs = b.slabs.emplace_back();
    if (!is_held(buffer)) continue;
    for (auto const& part : parts) {
      int const v = part.graph.find(buffer.name, buffer.role);
      if (v < 0) continue;
      slabs = plan::slabs_of(*this, part, part.graph.value(v), rank);
      break;
    }
    any |= !slabs.empty();
  }
  if (!any) b.slabs.clear();
  return b;
}

Copies copies_of(Plan const& plan, int rank, program::Buffer const& buffer) {
  Copies result;
  auto const among = [&](std::string const& axis, int index, int count) {
    result.over += axis + ' ';
    result.index = result.index * count + index;
    result.count *= count;
  };
  for (auto const& part : plan.parts) {
    int const v = part.graph.find(buffer.name, buffer.role);
    if (v < 0) continue;
    auto const& value = part.graph.value(v);
    for (std::size_t a = 0; a < plan.mesh.axes.size(); ++a) {
      auto const& axis = plan.mesh.axes[a];
      int const here = plan.coordinate(rank, axis);
      if (axis == "pp") {
        auto const& holders = plan.holders_of(buffer.name);
        auto const at = std::find(holders.begin(), holders.end(), here);
        if (at != holders.end()) {
          among(text("pp:", join(holders, "+")), static_cast<int>(at - holders.begin()),
                static_cast<int>(holders.size()));
        }
      } else if (axis == "dp" ? !plan.storage(part, value, here).part
                              : part.layouts.at(v, -1, a).split != Split::shard) {
        among(axis, here, plan.mesh.sizes[a]);
      }
    }
    break;
  }
  return result;
}

ReplicaWork replica_work(Plan const& plan, int rank) {
  auto const replica = static_cast<std::size_t>(plan.coordinate(rank, "dp"));
  auto const samples = config::replica_samples(plan.config);
  ReplicaWork work{.first_sample = 0, .samples = samples[replica], .micro_batches = plan.micro_batches[replica]};
  for (std::size_t r = 0; r < replica; ++r) work.first_sample += samples[r];
  return work;
}

}  // namespace lamina::plan
