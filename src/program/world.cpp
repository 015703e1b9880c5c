#include "program/detail/world.hpp"

#include <algorithm>

#include "program/detail/order.hpp"
#include "program/detail/verify.hpp"

namespace lamina::program::detail {
namespace {

/// The tensors that two ends must agree on: what a message carries; the wholes of a collective, which are the input of
/// a reduce_scatter.
std::vector<int> const& agreed(Step const& s) {
  return s.kind == StepKind::send || s.kind == StepKind::reduce_scatter ? s.in : s.out;
}

Buffer const& buffer(Template const& t, int id) { return t.buffers[static_cast<std::size_t>(id)]; }

std::int64_t count_of(Buffer const& b) {
  return *bytes_of(b.spec) / sizeof_dtype(b.spec.dtype);  // the tables are sound: it fits
}

bool cuts_rows(StepKind k) { return k == StepKind::reduce_scatter || k == StepKind::all_gather; }
bool reduces(StepKind k) { return k == StepKind::all_reduce || k == StepKind::reduce_scatter; }

/// Roles whose buffers share the names of tensors with other roles.
bool is_part_of_state(Role r) {
  return r == Role::parameter || r == Role::gradient || r == Role::moment1 || r == Role::moment2;
}

bool same_data(Buffer const& a, Buffer const& b) { return a.spec.dtype == b.spec.dtype && count_of(a) == count_of(b); }

/// Of a collective. The name of scratch means nothing; a parameter and its gradient share one.
bool same_identity(Buffer const& a, Buffer const& b) {
  if (a.role == Role::scratch || b.role == Role::scratch) return a.role == b.role;
  return a.name == b.name && (a.role == b.role || (!is_part_of_state(a.role) && !is_part_of_state(b.role)));
}

bool same_text(Step const& a, Step const& b, std::string_view name, std::string_view otherwise) {
  auto const value = [&](Step const& s) {
    auto const* v = s.attributes.find(name);
    return v ? std::string_view(std::get<std::string>(*v)) : otherwise;
  };
  return value(a) == value(b);
}

bool same_shape(Template const& a, Template const& b) { return &a == &b || a == b; }

}  // namespace

bool fit_together(Template const& ta, Step const& a, Template const& tb, Step const& b) {
  bool const message = !is_collective(a.kind);
  if (message ? is_collective(b.kind) || a.kind == b.kind : a.kind != b.kind) return false;
  auto const &in_a = agreed(a), &in_b = agreed(b);
  if (in_a.size() != in_b.size()) return false;
  auto const dim = cuts_rows(a.kind) ? a.attributes.integer("dim", 0) : 0;
  for (std::size_t i = 0; i < in_a.size(); ++i) {
    auto const &x = buffer(ta, in_a[i]), &y = buffer(tb, in_b[i]);
    if (!same_data(x, y) || (message ? x.name != y.name : !same_identity(x, y))) return false;
    if (dim > 0 && !(x.spec.shape == y.spec.shape)) return false;
  }
  if (reduces(a.kind) && !same_text(a, b, "reduce", "sum")) return false;
  if (a.kind == StepKind::broadcast && a.peer != b.peer) return false;
  return !cuts_rows(a.kind) || (same_text(a, b, "rows", "") && dim == b.attributes.integer("dim", 0) &&
                                a.attributes.integer("flat", 0) == b.attributes.integer("flat", 0));
}

std::string describe_match(Template const& shape, Step const& s) {
  auto out = is_collective(s.kind) ? std::string(name_of(s.kind)) : std::string("message");
  if (reduces(s.kind)) out += text(" ", s.attributes.string("reduce", "sum"));
  std::string names;
  for (int const id : agreed(s)) {
    auto const& b = buffer(shape, id);
    out += names.empty() ? text(" ", b.spec.dtype, " x ", count_of(b)) : text(", ", count_of(b));
    names += text(names.empty() ? " of " : ", ", b.role, " '", b.name, "'");
  }
  if (s.kind == StepKind::broadcast) out += text(" from member ", s.peer);
  if (cuts_rows(s.kind)) {
    if (s.attributes.has("rows")) out += text(" rows ", s.attributes.string("rows"));
    if (auto const dim = s.attributes.integer("dim", 0); dim > 0) out += text(" dim ", dim);
    if (s.attributes.integer("flat", 0) != 0) out += " flat";
  }
  return out + names;
}

Skeleton make_skeleton(Template const& shape, Program const* program) {
  Skeleton k;
  k.shape = &shape;
  k.program = program;
  k.lane_of_group.assign(shape.groups.size(), -1);
  if (!program) return k;
  std::vector<int> lane_stream;
  for (auto const& s : program->steps) {
    if (!is_communication(s.kind)) continue;
    auto& lane = k.lane_of_group[static_cast<std::size_t>(s.group)];
    if (lane >= 0) continue;
    lane = static_cast<int>(k.lanes.size());
    k.lanes.push_back({s.group, {}, {}});
    lane_stream.push_back(s.stream);
  }
  if (k.lanes.empty()) return k;
  Order const order(*program);
  for (int i = 0; i < static_cast<int>(program->steps.size()); ++i) {
    auto const& s = program->steps[static_cast<std::size_t>(i)];
    if (!is_communication(s.kind)) continue;
    auto const own = static_cast<std::size_t>(k.lane_of_group[static_cast<std::size_t>(s.group)]);
    auto& nodes = k.lanes[own].nodes;
    Skeleton::Node node{
        .step = i, .collective = is_collective(s.kind), .sends = s.kind == StepKind::send, .peer = s.peer};
    node.waits[0] = k.waits.size();
    for (std::size_t l = 0; l < k.lanes.size(); ++l) {
      if (l == own) continue;
      int const count = order.clock(i, lane_stream[l]);
      int const known = nodes.empty() ? 0 : order.clock(nodes.back().step, lane_stream[l]);
      if (count > known) k.waits.push_back({static_cast<int>(l), count});
    }
    node.waits[1] = k.waits.size();
    if (node.collective) {
      k.collectives.push_back(s.group);
    } else {
      auto& partners = k.lanes[own].partners;
      std::pair const partner{node.peer, node.sends};
      auto const at = std::ranges::lower_bound(partners, partner);
      if (at == partners.end() || *at != partner) partners.insert(at, partner);
    }
    nodes.push_back(node);
  }
  return k;
}

void find_shapes(World& world) {
  std::map<Template const*, int> known;
  for (auto const* set : world.sets) {
    auto const* shape = set->shape.get();
    auto const [at, is_new] = known.try_emplace(shape, -1);
    if (is_new) {
      auto const equal = std::ranges::find_if(world.shapes, [&](auto const* s) { return same_shape(*s, *shape); });
      at->second = static_cast<int>(equal - world.shapes.begin());
      if (equal == world.shapes.end()) world.shapes.push_back(shape);
    }
    world.shape_of.push_back(at->second);
  }
}

namespace {

/// Compares what two members of a group know of it; "" when they agree.
std::string disagreement(World const& world, int rank, std::size_t group, int other, int other_group) {
  auto const& mine = world.shape(rank).groups[group];
  if (other_group < 0) return text("rank ", other, " has no group of that name");
  auto const& theirs = world.shape(other).groups[static_cast<std::size_t>(other_group)];
  auto const& my_members = world.binding(rank).members[group];
  auto const& their_members = world.binding(other).members[static_cast<std::size_t>(other_group)];
  if (my_members != their_members) return text("rank ", other, " lists the ranks ", describe_ranks(their_members));
  if (mine.transport != theirs.transport || mine.axis != theirs.axis) {
    return text("on rank ", other, " it is on axis '", theirs.axis, "' over ", name_of(theirs.transport),
                ", here on axis '", mine.axis, "' over ", name_of(mine.transport));
  }
  return "";
}

}  // namespace

bool check_groups(World& world, std::vector<Problem>& problems) {
  std::vector<std::map<std::string_view, int>> names(world.shapes.size());
  for (std::size_t s = 0; s < world.shapes.size(); ++s) {
    for (auto const& g : world.shapes[s]->groups) names[s].try_emplace(g.name, static_cast<int>(names[s].size()));
  }
  auto const find = [&](int rank, std::string_view name) {
    auto const& ids = names[static_cast<std::size_t>(world.shape_of[static_cast<std::size_t>(rank)])];
    auto const at = ids.find(name);
    return at == ids.end() ? -1 : at->second;
  };
  bool sound = true;
  auto const compare = [&](int rank, std::size_t g, int other, int other_group) {
    auto const& group = world.shape(rank).groups[g];
    auto const problem = disagreement(world, rank, g, other, other_group);
    if (problem.empty()) return;
    sound = false;
    Reporter(problems, rank, text("rank ", rank))
        .add("group_table", "group '", group.name, "' lists the ranks ", describe_ranks(world.binding(rank).members[g]),
             ", and ", problem);
  };
  world.instance_of.resize(world.sets.size()), world.index_of.resize(world.sets.size());
  for (int r = 0; r < world.size(); ++r) {
    auto const groups = world.shape(r).groups.size();
    world.instance_of[static_cast<std::size_t>(r)].assign(groups, -1);
    world.index_of[static_cast<std::size_t>(r)].assign(groups, -1);
  }
  // Comparing each rank with its leader, and each leader with all members, compares everybody.
  for (int r = 0; r < world.size(); ++r) {
    for (std::size_t g = 0; g < world.shape(r).groups.size(); ++g) {
      auto const& name = world.shape(r).groups[g].name;
      auto const& members = world.binding(r).members[g];
      if (members.front() != r) {
        compare(r, g, members.front(), find(members.front(), name));
        continue;
      }
      Instance instance{name, world.shape(r).groups[g].transport, members, {}};
      for (std::size_t i = 0; i < members.size(); ++i) {
        int const m = members[i], local = find(m, name);
        compare(r, g, m, local);
        instance.local.push_back(local);
        if (local < 0) continue;
        world.instance_of[static_cast<std::size_t>(m)][static_cast<std::size_t>(local)] =
            static_cast<int>(world.instances.size());
        world.index_of[static_cast<std::size_t>(m)][static_cast<std::size_t>(local)] = static_cast<int>(i);
      }
      world.instances.push_back(std::move(instance));
    }
  }
  return sound;
}

}  // namespace lamina::program::detail
