// What may go wrong in a plan: communication that is lost, doubled, crossed, out of order or of another size, waits in
// circles, waits that are missing.
#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"
#include "support/program_mutation_case.hpp"

namespace lamina::test {

using namespace program;

namespace {

Step& at(Program& p, int i) { return p.steps[static_cast<std::size_t>(i)]; }
bool communicates(Step const& s) { return is_communication(s.kind); }

/// `after` as if step `from` had come to be step `to(from)`; negative: it is gone.
template <class To>
void renumber(Program& p, To const& to) {
  for (auto& s : p.steps) {
    std::vector<int> after;
    for (int const a : s.after) {
      if (to(a) >= 0) after.push_back(to(a));
    }
    s.after = std::move(after);
  }
}

template <class Condition>
int some_step(Case& c, Program*& p, Condition const& condition) {
  p = c.program();
  return p ? c.step_where(*p, condition) : -1;
}

/// Two different steps: one that a condition accepts, and one that fits to it.
template <class Condition, class Fits>
std::pair<int, int> some_pair(Case& c, Program*& p, Condition const& condition, Fits const& fits) {
  int const i = some_step(c, p, condition);
  if (i < 0) return {-1, -1};
  int const j = c.step_where(*p, [&](Step const& s) { return &s != &at(*p, i) && fits(at(*p, i), s); });
  return {i, j};
}

std::string lose(Case& c) {
  Program* p;
  int const i = some_step(c, p, communicates);
  if (i < 0) return "";
  p->steps.erase(p->steps.begin() + i);
  renumber(*p, [&](int a) { return a == i ? -1 : a - (a > i); });
  return text("lost communication step ", i);
}

std::string twice(Case& c) {
  Program* p;
  int const i = some_step(c, p, communicates);
  if (i < 0) return "";
  renumber(*p, [&](int a) { return a + (a > i); });
  p->steps.insert(p->steps.begin() + i + 1, at(*p, i));
  return text("communicates step ", i, " twice");
}

/// The same kinds in the same order, and what they carry swapped: nothing but names may tell.
std::string cross(Case& c) {
  Program* p;
  auto const [i, j] = some_pair(c, p, communicates, [](Step const& a, Step const& b) {
    return a.kind == b.kind && a.group == b.group && a.in.size() == b.in.size() && a.out.size() == b.out.size();
  });
  if (j < 0) return "";
  std::swap(at(*p, i).in, at(*p, j).in);
  std::swap(at(*p, i).out, at(*p, j).out);
  std::swap(at(*p, i).after, at(*p, j).after);
  auto& later = at(*p, std::min(i, j)).after;
  std::erase_if(later, [&, first = std::min(i, j)](int a) { return a >= first; });
  return text("crossed what steps ", i, " and ", j, " carry");
}

/// Lists the steps anew so that each comes behind what it waits for and streams go in the order of `place`; as near to
/// the old list as that allows. False when that goes round in a circle.
bool list_again(Program& p, std::vector<int> const& place) {
  auto const n = static_cast<int>(p.steps.size());
  std::vector<int> number(static_cast<std::size_t>(n), -1);
  std::vector<Step> listed;
  auto const is_listed = [&](int a) { return a < 0 || a >= n || number[static_cast<std::size_t>(a)] >= 0; };
  while (std::ssize(listed) < n) {
    int next = -1;
    for (int i = 0; i < n && next < 0; ++i) {
      bool ready = number[static_cast<std::size_t>(i)] < 0 && std::ranges::all_of(at(p, i).after, is_listed);
      for (int k = 0; k < n && ready; ++k) {
        ready = at(p, k).stream != at(p, i).stream || is_listed(k) ||
                place[static_cast<std::size_t>(k)] >= place[static_cast<std::size_t>(i)];
      }
      if (ready) next = i;
    }
    if (next < 0) return false;
    number[static_cast<std::size_t>(next)] = static_cast<int>(listed.size());
    listed.push_back(at(p, next));
  }
  p.steps = std::move(listed);
  renumber(p, [&](int a) { return a >= 0 && a < n ? number[static_cast<std::size_t>(a)] : -1; });
  return true;
}

std::vector<int> places(Program const& p) {
  std::vector<int> out;
  for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) out.push_back(i);
  return out;
}

std::string reorder_stream(Case& c) {
  Program* p;
  auto const [i, j] = some_pair(c, p, communicates, [](Step const& a, Step const& b) { return a.stream == b.stream; });
  if (j < 0) return "";
  auto place = places(*p);
  std::swap(place[static_cast<std::size_t>(i)], place[static_cast<std::size_t>(j)]);
  return list_again(*p, place) ? text("swapped steps ", i, " and ", j, " of one stream") : "";
}

std::string resize(Case& c) {
  Program* p;
  int const i = some_step(c, p, [](Step const& s) { return communicates(s) && s.in.size() + s.out.size() > 0; });
  if (i < 0) return "";
  auto const& list = at(*p, i).in.empty() ? at(*p, i).out : at(*p, i).in;
  auto& shape = c.t.buffers[static_cast<std::size_t>(c.random.of(list))].spec.shape;
  if (shape.ndim() == 0) return "";
  auto& extent = shape[c.random.below(shape.ndim())];
  if (extent < 2) return "";
  extent -= c.random.between(1, static_cast<int>(extent) - 1);
  return text("step ", i, " carries a tensor of ", shape);
}

std::string rename(Case& c) {
  Program* p;
  int const i = some_step(c, p, [](Step const& s) { return communicates(s) && s.in.size() + s.out.size() > 0; });
  if (i < 0) return "";
  auto const& list = at(*p, i).in.empty() ? at(*p, i).out : at(*p, i).in;
  auto& name = c.t.buffers[static_cast<std::size_t>(c.random.of(list))].name;
  name = c.random.one_in(2) ? c.t.buffers[static_cast<std::size_t>(c.any_buffer())].name : name + "0";
  return text("step ", i, " carries a tensor called ", name);
}

/// One more wait between two streams of communication; ranks or stages that get different ones may wait in a circle.
std::string chain(Case& c) {
  Program* p;
  auto const [i, j] = some_pair(c, p, communicates,
                                [](Step const& a, Step const& b) { return communicates(b) && a.stream != b.stream; });
  if (j < 0) return "";
  at(*p, std::max(i, j)).after.push_back(std::min(i, j));
  return text("step ", std::max(i, j), " waits for ", std::min(i, j), " of another group");
}

/// A communication step comes behind a later one of another group and waits for it.
std::string turn_round(Case& c) {
  Program* p;
  auto const [i, j] = some_pair(c, p, communicates,
                                [](Step const& a, Step const& b) { return communicates(b) && a.stream != b.stream; });
  if (j < 0) return "";
  int const first = std::min(i, j), second = std::max(i, j);
  at(*p, first).after.push_back(second);
  return list_again(*p, places(*p)) ? text("step ", first, " waits for the later ", second) : "";
}

/// A message leaves only when a later one of another stream is over, and nothing of this rank waits for it: what is
/// wrong then shows only between ranks.
std::string hold_back(Case& c) {
  Program* p;
  auto const [i, j] = some_pair(c, p, communicates,
                                [](Step const& a, Step const& b) { return communicates(b) && a.stream != b.stream; });
  if (j < 0) return "";
  int const first = std::min(i, j), second = std::max(i, j);
  int const held = at(*p, first).stream;
  for (auto& s : p->steps) {
    if (s.stream == held) continue;
    std::erase_if(s.after, [&](int a) {
      return a >= first && a < static_cast<int>(p->steps.size()) && at(*p, a).stream == held;
    });
  }
  at(*p, first).after.push_back(second);
  return list_again(*p, places(*p)) ? text("step ", first, " is held back until ", second) : "";
}

/// Drops the waits that keep a step from overwriting what others still read, and nothing else.
std::string forget_readers(Case& c) {
  Program* p;
  auto const reads = [](Step const& reader, Step const& writer) {
    return std::ranges::any_of(reader.in, [&](int b) { return std::ranges::count(writer.out, b) > 0; });
  };
  auto const writes = [](Step const& writer, Step const& reader) {
    return std::ranges::any_of(writer.out, [&](int b) { return std::ranges::count(reader.in, b) > 0; });
  };
  auto const guards = [&](Step const& s, int a) { return reads(at(*p, a), s) && !writes(at(*p, a), s); };
  int const i = some_step(
      c, p, [&](Step const& s) { return std::ranges::any_of(s.after, [&](int a) { return a >= 0 && guards(s, a); }); });
  if (i < 0) return "";
  std::erase_if(at(*p, i).after, [&](int a) { return guards(at(*p, i), a); });
  return text("step ", i, " no longer waits for readers of what it writes");
}

/// Drops waits of a first use of memory: whoever had these bytes may still use them.
std::string forget_owners(Case& c) {
  Program* p;
  int const i = some_step(c, p, [](Step const& s) { return !s.after.empty() && !s.out.empty(); });
  if (i < 0) return "";
  auto& after = at(*p, i).after;
  after.erase(after.begin() + c.random.below(static_cast<int>(after.size())));
  return text("step ", i, " waits for one step less");
}

std::string change_cut(Case& c) {
  Program* p;
  int const i = some_step(
      c, p, [](Step const& s) { return s.kind == StepKind::reduce_scatter || s.kind == StepKind::all_gather; });
  if (i < 0) return "";
  auto& a = at(*p, i).attributes;
  switch (c.random.below(4)) {
    case 0:
      a.set("dim", std::int64_t{c.random.between(-1, 2)});
      break;
    case 1:
      a.set("flat", std::int64_t{c.random.between(0, 2)});
      break;
    case 2:
      a.set("flat", std::string("1"));
      break;
    default:
      a.set("rows", std::string(c.random.one_in(2) ? "0,3,7" : "0,7"));
      break;
  }
  return text("step ", i, " cuts other rows");
}

/// A step uses another buffer of the same kind instead of its own, or two steps exchange theirs.
std::string swap_operands(Case& c) {
  Program* p;
  int const i = some_step(c, p, [](Step const& s) { return !s.in.empty() || !s.out.empty(); });
  if (i < 0) return "";
  auto& list = at(*p, i).in.empty() || (!at(*p, i).out.empty() && c.random.one_in(2)) ? at(*p, i).out : at(*p, i).in;
  auto& operand = list[static_cast<std::size_t>(c.random.below(static_cast<int>(list.size())))];
  if (operand < 0 || operand >= static_cast<int>(c.t.buffers.size())) return "";
  auto const& mine = c.t.buffers[static_cast<std::size_t>(operand)];
  std::vector<int> like;
  for (int b = 0; b < static_cast<int>(c.t.buffers.size()); ++b) {
    auto const& other = c.t.buffers[static_cast<std::size_t>(b)];
    if (b != operand && other.spec == mine.spec && other.program == mine.program) like.push_back(b);
  }
  if (like.empty()) return "";
  int const other = c.random.of(like);
  auto const done = text("step ", i, " uses %", other, " for %", operand);
  if (c.random.one_in(2)) {
    for (auto* all : {&at(*p, i).in, &at(*p, i).out}) std::ranges::replace(*all, operand, other);
  } else {
    operand = other;
  }
  return done;
}

/// Two buffers of one life change places in memory, or one comes to lie where another is.
std::string swap_memory(Case& c) {
  int const i = c.any_buffer();
  auto& a = c.t.buffers[static_cast<std::size_t>(i)];
  std::vector<int> like;
  for (int b = 0; b < static_cast<int>(c.t.buffers.size()); ++b) {
    auto const& other = c.t.buffers[static_cast<std::size_t>(b)];
    if (b != i && other.program == a.program && other.space == a.space) like.push_back(b);
  }
  if (like.empty()) return "";
  int const j = c.random.of(like);
  auto& b = c.t.buffers[static_cast<std::size_t>(j)];
  if (c.random.one_in(2)) {
    std::swap(a.offset, b.offset);
    return text("%", i, " and %", j, " swapped places");
  }
  a.offset = b.offset;
  return text("%", i, " lies where %", j, " is");
}

/// Boxes of the global tensor that overlap, leave it, hold more than there is room for, or leave a hole.
std::string change_boxes(Case& c) {
  std::vector<std::size_t> with;
  for (std::size_t b = 0; b < c.b.slabs.size(); ++b) {
    if (!c.b.slabs[b].empty() && c.b.slabs[b][0].extent.ndim() > 0) with.push_back(b);
  }
  if (with.empty()) return "";
  auto const buffer = c.random.of(with);
  auto& list = c.b.slabs[buffer];
  auto& slab = list[static_cast<std::size_t>(c.random.below(static_cast<int>(list.size())))];
  int const d = c.random.below(slab.extent.ndim());
  switch (c.random.below(6)) {
    case 0:
      slab.offset[d] += c.random.one_in(2) ? 1 : -1;
      break;
    case 1:
      slab.extent[d] += 1;
      break;
    case 2:
      if (slab.extent[d] > 0) slab.extent[d] -= 1;
      break;
    case 3:
      list.push_back(Hyperslab(slab));
      break;
    case 4:
      slab.offset[d] += slab.extent[d];
      break;
    default:
      list.erase(list.begin());
      break;
  }
  return text("changed the boxes of %", buffer);
}

}  // namespace

std::span<Mutation const> plan_mutations() {
  static constexpr std::array<Mutation, 22> all{
      lose,           lose,           twice,         cross,      cross,         cross,
      reorder_stream, reorder_stream, resize,        rename,     chain,         turn_round,
      turn_round,     forget_readers, forget_owners, change_cut, swap_operands, swap_operands,
      swap_memory,    change_boxes,   hold_back,     hold_back};
  return all;
}

}  // namespace lamina::test
