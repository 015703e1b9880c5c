#include "plan/detail/rebuild.hpp"

#include <utility>

namespace lamina::plan {

Rebuild::Rebuild(graph::Graph const& from, DType gradients) : from_(from), map_(from.values().size(), -1) {
  for (auto const& v : from.values()) {
    if (v.producer >= 0) continue;
    int const parameter = v.parameter < 0 ? -1 : of(v.parameter);
    auto spec = v.spec;
    if (v.role == Role::gradient) spec.dtype = gradients;
    int const id = v.role == Role::input       ? to_.add_input(v.name, spec, v.dims)
                   : v.role == Role::parameter ? to_.add_parameter(v.name, spec, v.dims, v.init, v.decay)
                                               : to_.add_state(v.name, spec, v.dims, v.role, parameter);
    map_[static_cast<std::size_t>(v.id)] = id;
  }
}

std::vector<int> Rebuild::of(std::vector<int> const& old) const {
  std::vector<int> ids;
  for (int const v : old) ids.push_back(of(v));
  return ids;
}

std::vector<int> Rebuild::put(graph::OpPtr op, std::vector<int> in, std::vector<int> const& out,
                              graph::Node const& place) {
  std::vector<int> targets;
  for (int const v : out) {
    int const state = from_.value(v).accumulates_into;
    targets.push_back(state < 0 ? -1 : of(state));
  }
  return to_.add_node(std::move(op), std::move(in), place.layer, place.phase, targets);
}

void Rebuild::stand_in(int old, int made) {
  auto const& v = from_.value(old);
  map_[static_cast<std::size_t>(old)] = made;
  if (v.role == Role::output && v.accumulates_into < 0 && v.overwrites < 0) to_.mark_output(made, v.name);
}

void Rebuild::add(graph::OpPtr op, std::vector<int> const& in, std::vector<int> const& out, graph::Node const& place) {
  auto const made = put(std::move(op), of(in), out, place);
  for (std::size_t o = 0; o < out.size(); ++o) stand_in(out[o], made[o]);
}

}  // namespace lamina::plan
