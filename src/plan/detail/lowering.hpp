#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "plan/detail/copies.hpp"
#include "plan/detail/plan.hpp"

namespace lamina::plan {

/// The buffers of one template. Persistent ones are found by (name, role), transient ones by the value they hold and
/// the micro-batch they belong to.
class Buffers {
 public:
  Buffers(Plan const& plan, program::Template& shape) : plan_(plan), shape_(shape) {}

  /// All persistent buffers, in the order of the arena: inputs, outputs, parameters, gradients (bucket by bucket),
  /// moments, working copies, caches.
  void add_persistent();
  /// Their offsets; returns the end.
  std::int64_t place_persistent();

  /// Buffer that holds a value during micro-batch `m` of the program with this index; made on first use.
  int of(Part const& part, int program, int value, std::int64_t m);
  int scratch(int program, std::size_t step, std::int64_t bytes);
  int find(std::string const& name, Role role) const;
  program::Buffer const& operator[](int id) const { return shape_.buffers[static_cast<std::size_t>(id)]; }
  std::vector<WorkingCopy> const& copies() const { return copies_; }

 private:
  int add(std::string name, Role role, TensorSpec spec, Shape const& global, int program = -1);
  int add_once(std::string name, Role role, TensorSpec spec, Shape const& global);
  void add_values(Role role);
  void add_gradients();
  void add_copies();
  std::string name_of(Part const& part, graph::Value const& value, std::int64_t m) const;

  Plan const& plan_;
  program::Template& shape_;
  std::vector<WorkingCopy> copies_;
  std::map<std::pair<Role, std::string>, int> persistent_;
  std::map<std::pair<std::pair<int, std::int64_t>, int>, int> transient_;  // (program, micro-batch), value
};

/// Appends the steps of one program.
class ProgramWriter {
 public:
  ProgramWriter(Plan const& plan, program::Template& shape, Buffers& buffers, std::string name);

  /// A node of the graph for micro-batch `m`.
  int node(Part const& part, graph::Node const& node, std::int64_t m);
  /// A kernel that the plan adds; operands are buffers, `op` gives attributes, cost and scratch.
  int kernel(graph::Op const& op, std::vector<int> in, std::vector<int> out, std::string layer);
  /// A kernel without an op in the graph's catalogue.
  int kernel(std::string kind, std::vector<int> in, std::vector<int> out);
  /// A sum over a group, in place, on the group's own stream.
  int all_reduce(std::string const& group, std::vector<int> const& buffers, std::vector<int> after, std::string layer);

  program::Step& step(int id) { return steps()[static_cast<std::size_t>(id)]; }
  int last_compute() const { return last_compute_; }
  int index() const { return index_; }

 private:
  std::vector<program::Step>& steps() { return shape_.programs[static_cast<std::size_t>(index_)].steps; }
  int push(program::Step step);
  std::int64_t accumulate_mask(graph::Op const& op, std::vector<int> const& out);

  Plan const& plan_;
  program::Template& shape_;
  Buffers& buffers_;
  int index_ = 0;
  int last_compute_ = -1;
  std::vector<bool> written_;  // accumulating buffers that have been written in this program
};

}  // namespace lamina::plan
