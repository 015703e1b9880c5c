#pragma once

#include <map>
#include <utility>
#include <vector>

#include "lamina/graph/graph.hpp"

namespace lamina::graph {

/// What `Op::differentiate` writes the backward of one node with. The gradient of a value has the value's shape and
/// dtype; integer inputs and values that depend on no parameter have none.
class GradBuilder {
 public:
  Graph const& graph() const { return graph_; }
  Node const& node() const { return graph_.node(node_); }
  /// Value ids and specs of the node's operands.
  int in(int i) const { return node().in[static_cast<std::size_t>(i)]; }
  int out(int o) const { return node().out[static_cast<std::size_t>(o)]; }
  TensorSpec in_spec(int i) const { return graph_.value(in(i)).spec; }
  TensorSpec out_spec(int o) const { return graph_.value(out(o)).spec; }

  /// Gradient of output `o`: the sum of what its users contributed, in the dtype of the output; -1 when it has none.
  int grad(int o);
  /// The gradient of input `i` is wanted: it is, or depends on, a parameter.
  bool needs(int i) const;
  /// Appends a node to the backward phase, in the layer of the node that is differentiated.
  std::vector<int> apply(OpPtr op, std::vector<int> in, std::vector<int> const& targets = {});
  /// Adds `grad` (f32 or bf16) to the gradient of input `i`. For the output of an op, not for a parameter: gradients
  /// of parameters are accumulated by the op that computes them, into `target`. Ignored when `needs(i)` is false.
  /// @throws Error "graph.differentiate.parameter" when input `i` is a parameter.
  void contribute(int i, int grad);
  /// Has the op that produced input `i` differentiated although it gets no gradient tensor: the two ops agree on what
  /// it is (head_loss_stats before loss_sum).
  void imply(int i) { implied_[static_cast<std::size_t>(in(i))] = true; }
  /// What was contributed to input `i` so far, taken out again, for an op that adds it to its own contribution; -1
  /// when there is nothing, or not as f32.
  int take(int i);
  /// The gradient state that parameter input `i` accumulates into; made on first use.
  /// @throws Error "graph.differentiate.target" when input `i` is not a parameter.
  int target(int i);
  /// `value` in another dtype; one `cast` node however often it is asked for. `value` itself when it has the dtype.
  int cast(int value, DType dtype);

 private:
  friend void differentiate(Graph& graph, int loss);
  GradBuilder(Graph& graph, int loss);
  void run();
  bool is_asked() const;

  Graph& graph_;
  int loss_;
  int node_ = -1;
  std::vector<bool> depends_;  ///< value id -> depends on a parameter
  std::vector<int> pending_;   ///< value id -> sum of its gradient's contributions, or -1
  std::vector<bool> implied_;  ///< value id -> `imply` was called
  std::map<std::pair<int, DType>, int> casts_;
};

}  // namespace lamina::graph
