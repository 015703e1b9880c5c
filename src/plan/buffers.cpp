#include <algorithm>

#include "lamina/base/text.hpp"
#include "plan/detail/lowering.hpp"
#include "plan/detail/memory.hpp"

namespace lamina::plan {
namespace {

bool has_batch(graph::Value const& v) { return std::find(v.dims.begin(), v.dims.end(), "batch") != v.dims.end(); }

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
  auto const [at, is_new] = persistent_.try_emplace({role, name}, 0);
  if (is_new) at->second = add(std::move(name), role, spec, global);
  return at->second;
}

int Buffers::find(std::string const& name, Role role) const {
  auto const at = persistent_.find({role, name});
  return at == persistent_.end() ? -1 : at->second;
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
  for (auto const& part : plan_.parts) {
    auto const count = part.program == "forward_backward" ? plan_.micro_batches : 1;
    for (auto const& v : part.graph.values()) {
      if (v.role != role || v.accumulates_into >= 0 || v.overwrites >= 0) continue;
      for (std::int64_t m = 0; m < count; ++m) {
        add_once(name_of(part, v, m), role, plan_.local_spec(part, v.id), v.spec.shape);
      }
    }
  }
}

void Buffers::add_gradients() {
  for (auto const& bucket : plan_.buckets) {
    for (int const g : bucket.gradients) {
      auto const& part = plan_.parts.front();
      auto const& v = part.graph.value(g);
      add_once(v.name, Role::gradient, plan_.local_spec(part, g), v.spec.shape);
    }
  }
}

void Buffers::add_copies() {
  for (auto const& part : plan_.parts) {
    for (auto const& node : part.graph.nodes()) {
      for (int i = 0; i < static_cast<int>(node.in.size()); ++i) {
        auto copy = working_copy(plan_, part, node, i);
        if (!copy || find(copy->name, Role::packed) >= 0) continue;
        add_once(copy->name, Role::packed, copy->spec, copy->spec.shape);
        copies_.push_back(std::move(*copy));
      }
    }
  }
}

void Buffers::add_persistent() {
  add_values(Role::input);
  // The host sets it in every training run, dropout or not.
  if (plan_.purpose == Purpose::train) add_once("rng", Role::input, {DType::i64, {3}}, {3});
  if (plan_.purpose != Purpose::generate) add_once("control", Role::input, {DType::f64, {16}}, {16});
  add_values(Role::output);
  if (plan_.purpose == Purpose::train) add_once("norm", Role::output, {DType::f64, {2}}, {2});
  add_values(Role::parameter);
  add_gradients();
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

int Buffers::of(Part const& part, int program, int value, std::int64_t m) {
  auto const& v = part.graph.value(value);
  if (v.accumulates_into >= 0) return of(part, program, v.accumulates_into, m);
  if (v.overwrites >= 0) return of(part, program, v.overwrites, m);
  if (is_persistent(v.role)) return find(name_of(part, v, m), v.role);
  auto const [at, is_new] = transient_.try_emplace({{program, m}, value}, 0);
  if (is_new) {
    auto const suffix = part.program == "forward_backward" ? text(m) : part.program;
    at->second = add(text(v.name, "@", suffix), v.role, plan_.local_spec(part, value), v.spec.shape, program);
  }
  return at->second;
}

int Buffers::scratch(int program, std::size_t step, std::int64_t bytes) {
  auto const& name = shape_.programs[static_cast<std::size_t>(program)].name;
  return add(text("scratch@", name, ".", step), Role::scratch, {DType::u8, {bytes}}, {bytes}, program);
}

}  // namespace lamina::plan
