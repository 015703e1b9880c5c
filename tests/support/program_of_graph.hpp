#pragma once

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lamina/graph/graph.hpp"
#include "lamina/program/program.hpp"

namespace lamina::test {

/// The programs "forward", "backward" and "update" of a graph on one rank, every value in memory of its own and for
/// ever, so that a test can look at all of them; "backward_again" adds to gradients where "backward" overwrites them.
class ProgramOfGraph {
 public:
  ProgramOfGraph(graph::Graph const& graph, int threads) : graph_(graph), threads_(threads) {
    for (auto const& v : graph.values()) {
      int const shares = v.accumulates_into >= 0 ? v.accumulates_into : v.overwrites;
      buffer_of_.push_back(shares >= 0 ? buffer_of_[static_cast<std::size_t>(shares)] : add(v));
    }
    add_program("forward", graph::Phase::forward, false);
    add_program("backward", graph::Phase::backward, false);
    add_program("backward_again", graph::Phase::backward, true);
    add_program("update", graph::Phase::update, false);
  }

  program::ProgramSet set() const { return {std::make_shared<program::Template const>(shape_), {}}; }
  int buffer(int value) const { return buffer_of_[static_cast<std::size_t>(value)]; }
  std::string const& name(int value) const { return shape_.buffers[static_cast<std::size_t>(buffer(value))].name; }
  Role role(int value) const { return shape_.buffers[static_cast<std::size_t>(buffer(value))].role; }

 private:
  int add(graph::Value const& v) { return add(v.name, v.role == Role::activation ? Role::output : v.role, v.spec); }
  int add(std::string name, Role role, TensorSpec spec, int program = -1) {
    auto& arena = shape_.arena_bytes[0];
    auto const bytes = (spec.bytes() + 63) / 64 * 64;
    shape_.buffers.push_back({.name = std::move(name),
                              .role = role,
                              .spec = spec,
                              .global_shape = spec.shape,
                              .offset = arena,
                              .bytes = bytes,
                              .program = program});
    arena += bytes;
    return static_cast<int>(shape_.buffers.size()) - 1;
  }

  void add_program(std::string name, graph::Phase phase, bool again) {
    program::Program p{.name = std::move(name), .streams = {{.name = "compute"}}, .steps = {}};
    std::set<int> written;
    for (auto const& node : graph_.nodes()) {
      if (node.phase != phase || node.op->kind() == "test_sink") continue;
      program::Step step;
      step.op = node.op->kind() == "test_source" ? "cast" : std::string(node.op->kind());
      step.attributes = node.op->attributes();
      step.layer = node.layer;
      std::vector<TensorSpec> specs;
      for (int const v : node.in) step.in.push_back(buffer(v)), specs.push_back(graph_.value(v).spec);
      std::int64_t mask = 0;
      for (std::size_t o = 0; o < node.out.size(); ++o) {
        int const b = buffer(node.out[o]);
        step.out.push_back(b);
        if (!node.op->accumulates(static_cast<int>(o))) continue;
        if (!written.insert(b).second || again) mask |= std::int64_t{1} << o;
      }
      if (mask != 0) step.attributes.set("accumulate", mask);
      if (auto const bytes = node.op->scratch_bytes(specs, threads_); bytes > 0) {
        step.out.push_back(add("scratch." + std::to_string(shape_.buffers.size()), Role::scratch, {DType::u8, {bytes}},
                               static_cast<int>(shape_.programs.size())));
      }
      p.steps.push_back(std::move(step));
    }
    shape_.programs.push_back(std::move(p));
  }

  graph::Graph const& graph_;
  int threads_;
  program::Template shape_;
  std::vector<int> buffer_of_;
};

}  // namespace lamina::test
