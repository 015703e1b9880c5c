#pragma once

#include <utility>
#include <vector>

#include "lamina/graph/graph.hpp"

namespace lamina::plan {

/// Copies a graph node by node, with others in place of some. Inputs, parameters and states are there from the start.
class Rebuild {
 public:
  /// @param gradients  dtype of the gradients of parameters.
  explicit Rebuild(graph::Graph const& from, DType gradients = DType::f32);

  /// Value of the new graph that stands for one of the old.
  int of(int old) const { return map_[static_cast<std::size_t>(old)]; }
  std::vector<int> of(std::vector<int> const& old) const;
  /// A node over values of the new graph, in layer and phase of `place`. What it accumulates goes to the states of
  /// `out`, values of the old graph.
  std::vector<int> put(graph::OpPtr op, std::vector<int> in, std::vector<int> const& out, graph::Node const& place);
  void stand_in(int old, int made);
  /// A node over values of the old graph whose outputs stand for `out`.
  void add(graph::OpPtr op, std::vector<int> const& in, std::vector<int> const& out, graph::Node const& place);

  graph::Graph const& so_far() const { return to_; }
  graph::Graph finish() { return std::move(to_); }

 private:
  graph::Graph const& from_;
  graph::Graph to_;
  std::vector<int> map_;
};

}  // namespace lamina::plan
