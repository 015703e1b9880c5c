#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"
#include "support/program_mutation_case.hpp"

namespace lamina::test {

using namespace program;

namespace {

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

std::string reorder_and_chain(Case& c) {
  auto const done = reorder(c);
  if (done.empty()) return "";
  for (int n = c.random.between(1, 3); n > 0; --n) chain_communication(c);
  return done + " and chained them";
}

std::string change_rows(Case& c) {  // to sound ones of the right number: only the other ranks can tell
  auto* p = c.program();
  int const i =
      p ? c.step_where(
              *p, [](auto const& s) { return s.kind == StepKind::reduce_scatter || s.kind == StepKind::all_gather; })
        : -1;
  if (i < 0 || at(*p, i).group < 0) return "";
  auto const members = c.b.members[static_cast<std::size_t>(at(*p, i).group)].size();
  std::vector<int> bounds;
  for (std::size_t k = 1; k < members; ++k) bounds.push_back(c.random.below(25));
  std::ranges::sort(bounds);
  std::string one = "0";
  for (int const b : bounds) one += text(",", b);
  one += ",24";
  at(*p, i).attributes.set("rows", at(*p, i).in.size() < 2 ? one : one + ";" + one);
  if (c.random.one_in(2))
    (at(*p, i).kind == StepKind::all_gather ? at(*p, i).in = at(*p, i).out : at(*p, i).out = at(*p, i).in);
  return text("step ", i, " has other rows");
}

std::string swap_in_lane(Case& c) {  // two messages of one stream that are not of one direction between the same two
  auto* p = c.program();
  int const i = p ? c.step_where(*p, is_message) : -1;
  if (i < 0) return "";
  auto const other = [&](auto const& s) {
    return is_message(s) && s.stream == at(*p, i).stream && (s.peer != at(*p, i).peer || s.kind != at(*p, i).kind);
  };
  int const j = c.step_where(*p, other);
  if (j < 0) return "";
  std::swap(at(*p, i), at(*p, j));
  std::swap(at(*p, i).after, at(*p, j).after);
  return text("swapped messages ", i, " and ", j, " of one stream");
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

}  // namespace

std::span<Mutation const> order_mutations() {
  static constexpr std::array<Mutation, 4> all{swap_in_lane, swap_in_lane, chain_communication, reorder_and_chain};
  return all;
}

std::span<Mutation const> step_mutations() {  // those that meet the subtle rules come more often
  static constexpr std::array<Mutation, 37> all{drop_step,
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
                                                reorder_and_chain,
                                                reorder_and_chain,
                                                reorder_and_chain,
                                                change_rows};
  return all;
}

}  // namespace lamina::test
