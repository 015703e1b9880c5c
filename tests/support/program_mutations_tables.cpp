#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"
#include "support/program_mutation_case.hpp"

namespace lamina::test {

using namespace program;

namespace {

std::string change_shape(Case& c) {
  int const id = c.any_buffer();
  auto& b = c.t.buffers[static_cast<std::size_t>(id)];
  if (b.spec.shape.ndim() == 0 || c.random.one_in(4)) {
    b.spec.shape = c.random.one_in(2) ? Shape{} : Shape{c.random.below(30)};
  } else {
    b.spec.shape[c.random.below(b.spec.shape.ndim())] += c.random.between(-1, 2);
    if (b.spec.shape[0] < 0) b.spec.shape[0] = 0;
  }
  if (c.random.one_in(2)) b.global_shape = b.spec.shape;
  return text("%", id, " became ", b.spec);
}

std::string change_dtype(Case& c) {
  int const id = c.any_buffer();
  c.t.buffers[static_cast<std::size_t>(id)].spec.dtype = static_cast<DType>(c.random.below(8));
  return text("%", id, " has another dtype");
}

std::string change_bytes(Case& c) {
  int const id = c.any_buffer();
  auto& b = c.t.buffers[static_cast<std::size_t>(id)];
  b.bytes = c.random.one_in(2) ? b.bytes + c.random.between(-8, 8) : b.bytes + 64 * c.random.between(-1, 2);
  return text("%", id, " has ", b.bytes, " bytes");
}

std::string move_buffer(Case& c) {
  int const id = c.any_buffer();
  auto& b = c.t.buffers[static_cast<std::size_t>(id)];
  b.offset = c.random.one_in(10)
                 ? b.offset + c.random.between(-3, 70)
                 : c.t.buffers[static_cast<std::size_t>(c.any_buffer())].offset + 64 * c.random.between(-1, 1);
  return text("%", id, " is at ", b.offset);
}

std::string swap_places(Case& c) {
  int const i = c.any_buffer(), j = c.any_buffer();
  auto &a = c.t.buffers[static_cast<std::size_t>(i)], &b = c.t.buffers[static_cast<std::size_t>(j)];
  std::swap(a.offset, b.offset), std::swap(a.bytes, b.bytes), std::swap(a.space, b.space);
  return text("%", i, " and %", j, " swapped places");
}

std::string change_space(Case& c) {
  int const id = c.any_buffer();
  c.t.buffers[static_cast<std::size_t>(id)].space = static_cast<Space>(c.random.below(4));
  return text("%", id, " is in another space");
}

std::string widen_arena(Case& c) {
  auto& arena = c.t.arena_bytes[static_cast<std::size_t>(c.random.below(4))];
  arena += 64 * c.random.between(-1, 2);
  if (c.random.one_in(12)) c.t.arena_bytes.pop_back();
  return "changed an arena";
}

std::string change_life(Case& c) {
  int const id = c.any_buffer();
  auto& b = c.t.buffers[static_cast<std::size_t>(id)];
  if (c.random.one_in(2)) {
    b.program = c.random.between(-2, static_cast<int>(c.t.programs.size()));
  } else {
    b.role = static_cast<Role>(c.random.below(11));
  }
  return text("%", id, " is a ", b.role, " of program ", b.program);
}

std::string rename(Case& c) {
  switch (c.random.below(4)) {
    case 0:
      c.t.buffers[static_cast<std::size_t>(c.any_buffer())].name =
          c.t.buffers[static_cast<std::size_t>(c.any_buffer())].name;
      return "renamed a buffer";
    case 1:
      if (c.t.groups.empty()) return "";
      c.t.groups[static_cast<std::size_t>(c.random.below(static_cast<int>(c.t.groups.size())))].name =
          c.random.one_in(2) ? "other" : c.t.groups[0].name;
      return "renamed a group";
    case 2:
      c.t.programs[0].name = c.random.one_in(2) ? "eval" : c.t.programs.back().name;
      return "renamed a program";
    default: {
      auto& streams = c.t.programs[0].streams;
      auto& s = streams[static_cast<std::size_t>(c.random.below(static_cast<int>(streams.size())))];
      s.name = c.random.one_in(2) ? "copy" : streams[0].name;
      return text("renamed a stream ", s.name);
    }
  }
}

std::string change_transport(Case& c) {
  if (c.t.groups.empty()) return "";
  auto& g = c.t.groups[static_cast<std::size_t>(c.random.below(static_cast<int>(c.t.groups.size())))];
  g.transport = static_cast<Transport>(c.random.below(3));
  return text("group ", g.name, " is on ", name_of(g.transport));
}

std::string all_on_nccl(Case& c) {
  for (auto& g : c.t.groups) g.transport = Transport::nccl;
  return "all groups are on nccl";
}

std::string change_stream_group(Case& c) {
  auto& streams = c.t.programs[0].streams;
  auto& s = streams[static_cast<std::size_t>(c.random.below(static_cast<int>(streams.size())))];
  s.group = c.random.between(-2, static_cast<int>(c.t.groups.size()));
  return text("stream ", s.name, " serves group ", s.group);
}

std::string change_members(Case& c) {
  if (c.b.members.empty()) return "";
  auto& list = c.b.members[static_cast<std::size_t>(c.random.below(static_cast<int>(c.b.members.size())))];
  if (list.empty()) return "";
  auto& some = list[static_cast<std::size_t>(c.random.below(static_cast<int>(list.size())))];
  switch (c.random.below(3)) {
    case 0:
      some = c.random.between(-1, c.b.world);
      break;
    case 1:
      std::swap(some, list[0]);
      break;
    default:
      list.push_back(c.random.below(c.b.world));
      break;
  }
  return "changed the members of a group";
}

std::string change_binding(Case& c) {
  switch (c.random.below(5)) {
    case 0:
      c.b.rank = c.random.below(c.b.world + 1);
      break;
    case 1:
      c.b.world += 1;
      break;
    case 2:
      c.b.coordinates.push_back(0);
      break;
    case 3:
      c.b.members.emplace_back();
      break;
    default:
      c.b.axes = {"dp"}, c.b.coordinates = {3};
      break;
  }
  return "changed the binding";
}

std::string change_slabs(Case& c) {
  std::vector<std::size_t> with;
  for (std::size_t i = 0; i < c.b.slabs.size(); ++i) {
    if (!c.b.slabs[i].empty()) with.push_back(i);
  }
  if (with.empty() || c.random.one_in(8)) {
    c.b.slabs.resize(c.t.buffers.size() + (c.random.one_in(4) ? 1 : 0));
    c.b.slabs[static_cast<std::size_t>(c.any_buffer())].push_back({Shape{0}, Shape{12}});
    return "added a box";
  }
  auto& list = c.b.slabs[c.random.of(with)];
  auto& slab = list[static_cast<std::size_t>(c.random.below(static_cast<int>(list.size())))];
  switch (c.random.below(5)) {
    case 4:
      slab.offset = list[0].offset;
      break;
    case 0:
      slab.offset[c.random.below(slab.offset.ndim())] += 1;
      break;
    case 1:
      slab.extent[c.random.below(slab.extent.ndim())] += 1;
      break;
    case 2:
      std::swap(list.front(), list.back());
      break;
    default:
      slab = list.front();
      break;
  }
  return "changed a box";
}

}  // namespace

std::span<Mutation const> table_mutations() {
  static constexpr std::array<Mutation, 16> all{change_shape,   change_dtype,     change_bytes, move_buffer,
                                                swap_places,    change_space,     widen_arena,  change_life,
                                                rename,         change_transport, all_on_nccl,  change_stream_group,
                                                change_members, change_binding,   change_slabs, move_buffer};
  return all;
}

}  // namespace lamina::test
