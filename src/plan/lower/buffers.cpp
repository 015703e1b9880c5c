#include <algorithm>

#include "lamina/base/text.hpp"
#include "plan/detail/lowering.hpp"
#include "plan/detail/memory.hpp"

namespace lamina::plan {
namespace {

bool has_batch(graph::Value const& v) { return std::find(v.dims.begin(), v.dims.end(), "batch") != v.dims.end(); }

bool is_held(Role role) {
  return role == Role::parameter || role == Role::gradient || role == Role::moment1 || role == Role::moment2;
}

}  // namespace

int Buffers::add(std::string name, Role role, TensorSpec spec, Shape const& global, int program) {
  int const id = static_cast<int>(shape_.buffers.size());
  auto const bytes = aligned(spec.bytes());
  shape_.buffers.push_back({.name = std::move(name),
                            .role = role,
                            .spec = spec,
                            .global_shape = global,
                            .space = program::Space::host,
                            .offset = 0,
                            .bytes = bytes,
                            .program = program});
  return id;
}

int Buffers::add_once(std::string name, Role role, TensorSpec spec, Shape const& global) {
  auto const [at, is_new] = persistent_[role].try_emplace(name, 0);
  if (is_new) at->second = add(std::move(name), role, spec, global);
  return at->second;
}

int Buffers::find(std::string const& name, Role role) const {
  auto const of_role = persistent_.find(role);
  if (of_role == persistent_.end()) return -1;
  auto const at = of_role->second.find(name);
  return at == of_role->second.end() ? -1 : at->second;
}

bool Buffers::is_here(Part const& part, graph::Node const& node) const {
  if (node.phase != graph::Phase::update) {
    return plan_.at[static_cast<std::size_t>(part.stages[static_cast<std::size_t>(node.id)])] == kind_.stage;
  }
  for (int const o : node.out) {
    auto const& v = part.graph.value(o);
    if (v.role != Role::parameter) continue;
    auto const& holders = plan_.holders_of(part.graph.value(v.overwrites).name);
    return std::find(holders.begin(), holders.end(), kind_.stage) != holders.end();
  }
  return true;
}

/// Marks what this coordinate's nodes use, states by way of their versions.
void Buffers::mark_used() {
  for (auto const& part : plan_.parts) {
    auto& used = used_.emplace_back(part.graph.values().size());
    auto const mark = [&](int v) {
      used[static_cast<std::size_t>(v)] = true;
      auto const& value = part.graph.value(v);
      if (value.accumulates_into >= 0) used[static_cast<std::size_t>(value.accumulates_into)] = true;
      if (value.overwrites >= 0) used[static_cast<std::size_t>(value.overwrites)] = true;
    };
    for (auto const& n : part.graph.nodes()) {
      if (!is_here(part, n)) continue;
      for (int const v : n.in) mark(v);
      for (int const v : n.out) mark(v);
    }
  }
}

/// Inputs that carry the batch are one per micro-batch; those of generation are one per program.
std::string Buffers::name_of(Part const& part, graph::Value const& v, std::int64_t m) const {
  bool const generate = plan_.purpose == Purpose::generate;
  if (v.role == Role::input && has_batch(v)) return generate ? text(part.program, ".", v.name) : text(v.name, ".", m);
  if (v.role == Role::output && generate) return text(part.program, ".", v.name);
  if (v.role == Role::output && part.program == "eval") return text("eval_", v.name);
  return v.name;
}

void Buffers::add_values(Role role) {
  for (std::size_t p = 0; p < plan_.parts.size(); ++p) {
    auto const& part = plan_.parts[p];
    auto const count = part.trains() ? kind_.micro_batches : 1;
    for (auto const& v : part.graph.values()) {
      if (v.role != role || v.accumulates_into >= 0 || v.overwrites >= 0) continue;
      if (!used_[p][static_cast<std::size_t>(v.id)]) continue;
      auto const spec = is_held(role)
                            ? plan_.storage(part, v, kind_.replica).spec
                            : plan_.local_spec(part, v.id, part.layouts.outputs[static_cast<std::size_t>(v.id)]);
      for (std::int64_t m = 0; m < count; ++m) add_once(name_of(part, v, m), role, spec, v.spec.shape);
    }
  }
}

void Buffers::add_copies() {
  for (auto const& part : plan_.parts) {
    for (auto const& node : part.graph.nodes()) {
      if (!is_here(part, node)) continue;
      for (int i = 0; i < static_cast<int>(node.in.size()); ++i) {
        auto copy = working_copy(plan_, part, node, i);
        if (!copy || find(copy->name, Role::packed) >= 0) continue;
        auto spec = copy->spec;
        if (plan_.zero == 3) {
          auto const& master = part.graph.value(node.in[static_cast<std::size_t>(i)]);
          spec.shape = plan_.storage(part, master, kind_.replica).spec.shape;
        }
        add_once(copy->name, Role::packed, spec, copy->spec.shape);
        copies_.push_back(std::move(*copy));
      }
    }
  }
}

void Buffers::add_persistent() {
  mark_used();
  add_values(Role::input);
  if (plan_.purpose == Purpose::train) {  // the host sets them on every rank, also without dropout or parameters
    add_once("rng", Role::input, {DType::i64, {3}}, {3});
    add_once("hyper", Role::input, {DType::f64, {4}}, {4});
  }
  if (plan_.purpose != Purpose::generate) add_once("control", Role::input, {DType::f64, {16}}, {16});
  add_values(Role::output);
  Shape const norm{plan_.canonical() ? 4 : 2};
  if (plan_.purpose == Purpose::train) add_once("norm", Role::output, {DType::f64, norm}, norm);
  add_values(Role::parameter);
  add_values(Role::gradient);
  add_values(Role::moment1);
  add_values(Role::moment2);
  add_copies();
  add_values(Role::cache);
}

std::int64_t Buffers::place_persistent() {
  std::int64_t end = 0;
  for (auto& b : shape_.buffers) {
    if (b.program < 0) b.offset = end, end += b.bytes;
  }
  return end;
}

int Buffers::of(Part const& part, int program, int value, int form, std::int64_t m) {
  auto const& v = part.graph.value(value);
  if (v.accumulates_into >= 0) return of(part, program, v.accumulates_into, form, m);
  if (v.overwrites >= 0) return of(part, program, v.overwrites, form, m);
  while (form >= 0 && part.layouts.forms[static_cast<std::size_t>(form)].in_place)
    form = part.layouts.forms[static_cast<std::size_t>(form)].from;
  if (is_persistent(v.role) && form == part.layouts.outputs[static_cast<std::size_t>(value)])
    return find(name_of(part, v, m), v.role);
  auto& known = values_[static_cast<std::size_t>(program)];
  auto const values = part.graph.values().size(), all = values + part.layouts.forms.size();
  auto const at = static_cast<std::size_t>(m) * all +
                  (form < 0 ? static_cast<std::size_t>(value) : values + static_cast<std::size_t>(form));
  if (at >= known.size()) known.resize((static_cast<std::size_t>(m) + 1) * all, -1);
  if (known[at] < 0) {
    auto name = v.name;
    if (form >= 0) (name += '~') += std::to_string(form);
    (name += '@') += part.trains() ? std::to_string(m) : part.program;
    auto const role = is_persistent(v.role) ? Role::activation : v.role;
    known[at] = add(std::move(name), role, plan_.local_spec(part, value, form), v.spec.shape, program);
  }
  return known[at];
}

int Buffers::transient(int program, std::string name, TensorSpec spec) {
  return add(std::move(name), Role::activation, spec, spec.shape, program);
}

int Buffers::scratch(int program, std::size_t step, std::int64_t bytes) {
  auto const& name = shape_.programs[static_cast<std::size_t>(program)].name;
  return add(text("scratch@", name, ".", step), Role::scratch, {DType::u8, {bytes}}, {bytes}, program);
}

}  // namespace lamina::plan
