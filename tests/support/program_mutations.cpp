#include "support/program_mutations.hpp"

#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"

namespace lamina::test {

using namespace program;

namespace {

/// One mutation in progress: a private copy of one rank's template and binding.
struct Case {
  Template t;
  Binding b;
  Random& random;

  Program* program() {
    if (t.programs.empty()) return nullptr;
    auto& p = t.programs[static_cast<std::size_t>(random.below(static_cast<int>(t.programs.size())))];
    return p.steps.empty() ? nullptr : &p;
  }
  int any_step(Program const& p) { return random.below(static_cast<int>(p.steps.size())); }
  int any_buffer() { return random.below(static_cast<int>(t.buffers.size())); }
  /// A random step that a condition accepts, or -1.
  template <class Condition>
  int step_where(Program const& p, Condition const& condition) {
    std::vector<int> found;
    for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) {
      if (condition(p.steps[static_cast<std::size_t>(i)])) found.push_back(i);
    }
    return found.empty() ? -1 : random.of(found);
  }
};

Step& at(Program& p, int i) { return p.steps[static_cast<std::size_t>(i)]; }

/// Gives every step a new number (-1: dropped) and keeps `after` pointing at the same steps.
void renumber(Program& p, std::vector<int> const& number) {
  constexpr int dropped = -1000;
  for (auto& s : p.steps) {
    for (auto& a : s.after) {
      bool const there =
          a >= 0 && static_cast<std::size_t>(a) < number.size();  // an earlier mutation may have been wild
      if (there) a = number[static_cast<std::size_t>(a)] < 0 ? dropped : number[static_cast<std::size_t>(a)];
    }
    std::erase(s.after, dropped);
  }
}

void drop(Program& p, int step) {
  std::vector<int> number;
  for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) number.push_back(i == step ? -1 : i - (i > step));
  p.steps.erase(p.steps.begin() + step);
  renumber(p, number);
}

/// Changes places in the list; `after` follows the steps, so that it may come to name later ones.
void swap(Program& p, int a, int b) {
  std::swap(at(p, a), at(p, b));
  std::vector<int> number;
  for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) number.push_back(i == a ? b : i == b ? a : i);
  renumber(p, number);
}

bool communicates(Step const& s) { return is_communication(s.kind); }
bool waits(Step const& s) { return !s.after.empty(); }
bool has_operand(Step const& s) { return !s.in.empty() || !s.out.empty(); }
bool is_message(Step const& s) { return s.kind == StepKind::send || s.kind == StepKind::recv; }

std::string drop_step(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  drop(*p, i);
  return text("dropped step ", i);
}

std::string drop_communication(Case& c) {
  auto* p = c.program();
  int const i = p ? c.step_where(*p, communicates) : -1;
  if (i < 0) return "";
  drop(*p, i);
  return text("dropped communication step ", i);
}

std::string drop_idle_step(Case& c) {  // a kernel whose outputs are written elsewhere too: often means nothing
  auto* p = c.program();
  int const i = p ? c.step_where(*p, [](auto const& s) { return s.kind == StepKind::kernel; }) : -1;
  if (i < 0) return "";
  drop(*p, i);
  return text("dropped kernel ", i);
}

std::string double_step(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  std::vector<int> number;
  for (int k = 0; k < static_cast<int>(p->steps.size()); ++k) number.push_back(k + (k > i));
  renumber(*p, number);
  p->steps.insert(p->steps.begin() + i + 1, at(*p, i));
  return text("doubled step ", i);
}

std::string swap_neighbours(Case& c) {
  auto* p = c.program();
  if (!p || p->steps.size() < 2) return "";
  int const i = c.random.below(static_cast<int>(p->steps.size()) - 1);
  swap(*p, i, i + 1);
  return text("swapped steps ", i, " and ", i + 1);
}

std::string swap_any(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p), j = c.any_step(*p);
  swap(*p, i, j);
  return text("swapped steps ", i, " and ", j);
}

std::string swap_communication(Case& c) {  // contents only: each step keeps its place and what it waits for
  auto* p = c.program();
  int const i = p ? c.step_where(*p, communicates) : -1, j = p ? c.step_where(*p, communicates) : -1;
  if (i < 0 || i == j) return "";
  std::swap(at(*p, i), at(*p, j));
  std::swap(at(*p, i).after, at(*p, j).after);
  return text("swapped what steps ", i, " and ", j, " communicate");
}

std::string remove_wait(Case& c) {
  auto* p = c.program();
  int const i = p ? c.step_where(*p, waits) : -1;
  if (i < 0) return "";
  auto& after = at(*p, i).after;
  auto const which = after.begin() + c.random.below(static_cast<int>(after.size()));
  auto const done = text("step ", i, " no longer waits for ", *which);
  after.erase(which);
  return done;
}

std::string remove_waits(Case& c) {
  auto* p = c.program();
  int const i = p ? c.step_where(*p, waits) : -1;
  if (i < 0) return "";
  at(*p, i).after.clear();
  return text("step ", i, " waits for nothing");
}

std::string add_wait(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p), a = i > 0 && !c.random.one_in(4) ? c.random.below(i) : c.any_step(*p);
  at(*p, i).after.push_back(a);
  return text("step ", i, " waits for ", a, " too");
}

std::string chain_communication(Case& c) {  // harmless alone; two ranks that chain differently wait for each other
  auto* p = c.program();
  int const i = p ? c.step_where(*p, communicates) : -1, j = p ? c.step_where(*p, communicates) : -1;
  if (i < 0 || i == j) return "";
  at(*p, std::max(i, j)).after.push_back(std::min(i, j));
  return text("communication step ", std::max(i, j), " waits for ", std::min(i, j), " too");
}

/// Another list of the same steps in which everything still comes after what it waits for: means nothing, but to nccl.
std::string reorder(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  auto const n = static_cast<int>(p->steps.size());
  std::vector<int> number(static_cast<std::size_t>(n), -1);
  std::vector<Step> listed;
  while (static_cast<int>(listed.size()) < n) {
    std::vector<int> ready;
    for (int i = 0; i < n; ++i) {
      auto const placed = [&](int a) { return a >= 0 && a < n && number[static_cast<std::size_t>(a)] >= 0; };
      bool fits = !placed(i) && std::ranges::all_of(at(*p, i).after, placed);
      for (int k = 0; fits && k < i; ++k) fits = at(*p, k).stream != at(*p, i).stream || placed(k);
      if (fits) ready.push_back(i);
    }
    if (ready.empty()) return "";  // an earlier mutation left no order
    int const next = c.random.of(ready);
    number[static_cast<std::size_t>(next)] = static_cast<int>(listed.size());
    listed.push_back(at(*p, next));
  }
  p->steps = std::move(listed);
  renumber(*p, number);
  return "listed the steps in another order";
}

std::string wild_wait(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p), a = c.random.one_in(2) ? -1 : static_cast<int>(p->steps.size());
  at(*p, i).after.push_back(a);
  return text("step ", i, " waits for ", a);
}

std::string change_operand(Case& c) {
  auto* p = c.program();
  int const i = p ? c.step_where(*p, has_operand) : -1;
  if (i < 0) return "";
  auto& s = at(*p, i);
  auto& list = s.in.empty() || (!s.out.empty() && c.random.one_in(2)) ? s.out : s.in;
  auto& operand = list[static_cast<std::size_t>(c.random.below(static_cast<int>(list.size())))];
  operand = c.random.one_in(12) ? c.random.between(-1, 0) + static_cast<int>(c.t.buffers.size()) * c.random.below(2)
                                : c.any_buffer();
  return text("step ", i, " uses %", operand);
}

std::string change_reduced_buffer(Case& c) {  // in both lists, as the rule of the kind wants
  auto* p = c.program();
  int const i = p ? c.step_where(*p, [](auto const& s) { return s.in == s.out && !s.in.empty(); }) : -1;
  if (i < 0) return "";
  at(*p, i).in[0] = at(*p, i).out[0] = c.any_buffer();
  return text("step ", i, " reduces %", at(*p, i).in[0]);
}

std::string drop_operand(Case& c) {
  auto* p = c.program();
  int const i = p ? c.step_where(*p, has_operand) : -1;
  if (i < 0) return "";
  auto& s = at(*p, i);
  auto& list = s.in.empty() || (!s.out.empty() && c.random.one_in(2)) ? s.out : s.in;
  list.erase(list.begin() + c.random.below(static_cast<int>(list.size())));
  return text("step ", i, " lost an operand");
}

std::string add_operand(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  (c.random.one_in(2) ? at(*p, i).in : at(*p, i).out).push_back(c.any_buffer());
  return text("step ", i, " has one operand more");
}

std::string change_kind(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  auto& s = at(*p, i);
  s.kind = static_cast<StepKind>(c.random.below(10));
  if (c.random.one_in(2)) s.op = s.kind == StepKind::kernel ? "gelu" : "";
  if (c.random.one_in(2)) s.in = s.out;
  return text("step ", i, " became a ", name_of(s.kind));
}

std::string change_stream(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  at(*p, i).stream = c.random.below(static_cast<int>(p->streams.size()) + (c.random.one_in(8) ? 1 : 0));
  if (c.random.one_in(2)) at(*p, i).group = -1;
  return text("step ", i, " is on stream ", at(*p, i).stream);
}

std::string change_group(Case& c) {  // with its stream: only the other ranks can tell
  auto* p = c.program();
  int const i = p ? c.step_where(*p, communicates) : -1;
  if (i < 0) return "";
  int const s = c.random.below(static_cast<int>(p->streams.size()));
  at(*p, i).stream = s;
  at(*p, i).group = p->streams[static_cast<std::size_t>(s)].group;
  return text("step ", i, " communicates on stream ", s);
}

std::string change_group_only(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  at(*p, i).group = c.random.between(-2, static_cast<int>(c.t.groups.size()));
  return text("step ", i, " names group ", at(*p, i).group);
}

std::string change_peer(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.step_where(*p, [](auto const& s) { return s.peer >= 0; });
  int const k = i < 0 || c.random.one_in(8) ? c.any_step(*p) : i;
  at(*p, k).peer = c.random.between(-1, 3);
  return text("step ", k, " names peer ", at(*p, k).peer);
}

std::string turn_message(Case& c) {
  auto* p = c.program();
  int const i = p ? c.step_where(*p, is_message) : -1;
  if (i < 0) return "";
  auto& s = at(*p, i);
  s.kind = s.kind == StepKind::send ? StepKind::recv : StepKind::send;
  std::swap(s.in, s.out);
  return text("turned message ", i, " round");
}

std::string change_attribute(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  auto& a = at(*p, i).attributes;
  switch (c.random.below(5)) {
    case 0:
      a.set("accumulate", std::int64_t{c.random.between(-1, 4)});
      break;
    case 1:
      a.set("reduce", std::string(c.random.one_in(2) ? "max" : "mean"));
      break;
    case 2:
      a.set("reduce", std::int64_t{1});
      break;
    case 3:
      a.set("rows", std::string(c.random.one_in(2) ? "0,12,24" : "0,6,4;1"));
      break;
    default:
      a.set("eps", 0.5);
      break;
  }
  return text("step ", i, " has another attribute");
}

std::string change_cost(Case& c) {
  auto* p = c.program();
  if (!p) return "";
  int const i = c.any_step(*p);
  at(*p, i).flops += 10, at(*p, i).layer += "x", at(*p, i).micro_batch = 7, at(*p, i).stage = 3;
  return text("step ", i, " has another cost and layer");
}

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
  switch (c.random.below(4)) {
    case 0:
      slab.offset[c.random.below(2)] += 1;
      break;
    case 1:
      slab.extent[c.random.below(2)] += 1;
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

using Operator = std::string (*)(Case&);
constexpr std::array operators{drop_step,
                               drop_communication,
                               drop_idle_step,
                               double_step,
                               swap_neighbours,
                               swap_neighbours,
                               swap_any,
                               swap_communication,
                               swap_communication,
                               remove_wait,
                               remove_wait,
                               remove_wait,
                               remove_waits,
                               add_wait,
                               add_wait,
                               wild_wait,
                               chain_communication,
                               chain_communication,
                               reorder,
                               reorder,
                               change_operand,
                               change_operand,
                               change_reduced_buffer,
                               drop_operand,
                               add_operand,
                               change_kind,
                               change_stream,
                               change_group,
                               change_group_only,
                               change_peer,
                               turn_message,
                               change_attribute,
                               change_cost,
                               change_shape,
                               change_dtype,
                               change_bytes,
                               move_buffer,
                               move_buffer,
                               swap_places,
                               change_space,
                               widen_arena,
                               change_life,
                               rename,
                               change_transport,
                               all_on_nccl,
                               change_stream_group,
                               change_members,
                               change_binding,
                               change_slabs};

}  // namespace

std::string mutate(World& world, Random& random) {
  auto& set = world[static_cast<std::size_t>(random.below(static_cast<int>(world.size())))];
  auto const before = set.shape;
  Case c{*set.shape, set.binding, random};
  auto const which = operators[static_cast<std::size_t>(random.below(static_cast<int>(operators.size())))];
  auto const done = which(c);
  if (done.empty()) return "";
  set.shape = std::make_shared<Template const>(std::move(c.t));
  set.binding = std::move(c.b);
  if (random.one_in(2)) return text("rank ", set.binding.rank, ": ", done);
  for (auto& other : world) {  // all ranks that shared the template
    if (other.shape == before) other.shape = set.shape;
  }
  return text("rank ", set.binding.rank, " and those of its template: ", done);
}

}  // namespace lamina::test
