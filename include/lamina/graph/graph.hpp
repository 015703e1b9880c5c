#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lamina/graph/op.hpp"
#include "lamina/tensor/role.hpp"

namespace lamina::graph {

/// Initial value of a parameter: a function of (seed, name, global element index) alone.
struct Init {
  enum class Kind : std::uint8_t { zeros, ones, normal, uniform } kind = Kind::zeros;
  double stddev = 0;  ///< of normal
  double bound = 0;   ///< of uniform: from -bound to below bound
};

/// One tensor of the graph, with its *global* shape. An output that accumulates into a state or overwrites one is a
/// version of that state: it has the state's role, dims and parameter, a name of its own, and no buffer of its own.
struct Value {
  int id = -1;
  std::string name;  ///< parameter: global name; else "<layer>.<op>[.<output>]", unique
  TensorSpec spec;
  std::vector<std::string>
      dims;  ///< logical name per dim: batch, tokens, model, heads, head_size, ff, vocab, ... or ""
  Role role = Role::activation;
  int producer = -1;  ///< node id; -1 for parameters and inputs
  int accumulates_into =
      -1;               ///< for outputs with Op::accumulates: the value (role gradient or output) that is added to
  int overwrites = -1;  ///< for outputs with Op::overwrites: the value whose buffer this one shares
  int parameter = -1;   ///< role gradient, moment1, moment2: the parameter it belongs to
  Init init;            ///< role parameter
  bool decay = false;   ///< role parameter: weight decay applies
};

enum class Phase : std::uint8_t { forward, backward, update };

struct Node {
  int id = -1;
  OpPtr op;
  std::vector<int> in, out;  ///< value ids
  std::string layer;         ///< layer path: "blocks.3.attn"
  Phase phase = Phase::forward;
};

/// Operators in an order in which they can run (every input is produced before it is used). Append-only.
/// Gradients: after `differentiate`, each parameter that the loss depends on has one value of role gradient,
/// named like the parameter, to which backward nodes accumulate.
class Graph {
 public:
  int add_input(std::string name, TensorSpec spec, std::vector<std::string> dims);
  int add_parameter(std::string name, TensorSpec spec, std::vector<std::string> dims, Init init, bool decay);
  /// A value with a buffer of its own that nodes accumulate into or overwrite: gradients, moments, loss, caches.
  int add_state(std::string name, TensorSpec spec, std::vector<std::string> dims, Role role, int parameter = -1);
  /// Appends a node. Dim names of outputs follow from the letters of the shard rule. `targets[o]`: the state value
  /// that output `o` accumulates into; needed for exactly the outputs with Op::accumulates, -1 elsewhere.
  /// @throws Error of Op::infer, prefixed with the layer path; "graph.node.operand | target" for wrong ids;
  /// "graph.shard_rule.*"; "graph.dropout.operation" when two forward ops share the id of their random numbers.
  std::vector<int> add_node(OpPtr op, std::vector<int> in, std::string layer, Phase phase,
                            std::vector<int> const& targets = {});

  /// A layer that may have no node, as a dropout in evaluation: run files name it all the same, or need not if it is
  /// `optional`.
  void add_layer(std::string const& path, bool optional = false);
  bool is_optional(std::string const& layer) const { return optional_layers_.contains(layer); }
  /// Layer paths in the order in which they were added or had their first node.
  std::vector<std::string> const& layers() const { return layers_; }

  std::vector<Value> const& values() const { return values_; }
  std::vector<Node> const& nodes() const { return nodes_; }
  Value const& value(int id) const { return values_[static_cast<std::size_t>(id)]; }
  Value& mutable_value(int id) { return values_[static_cast<std::size_t>(id)]; }
  Node const& node(int id) const { return nodes_[static_cast<std::size_t>(id)]; }
  /// Gives an activation the role output and a name for the host to read it by.
  void mark_output(int value, std::string name);
  /// Value id by name, or -1.
  int find(std::string_view name, Role role) const;
  /// Gradient value of a parameter, or -1.
  int gradient_of(int parameter) const;
  std::vector<int> parameters() const;

 private:
  int append(Value value);
  void bind_state(Value& v, Op const& op, int o, std::vector<int> const& in, int target,
                  std::string const& layer) const;
  void require_operation(Op const& op, std::string const& layer, Phase phase);
  std::string unique_base(std::string base);

  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<std::string> layers_;
  std::set<std::string> known_layers_, optional_layers_;
  std::map<std::pair<std::string, Role>, int> ids_;  ///< first value of that name and role
  std::map<int, int> gradients_;                     ///< parameter -> gradient state
  std::map<std::int64_t, std::string> operations_;   ///< operation id of random numbers -> forward node
  std::map<std::string, int> uses_;                  ///< "<layer>.<op>" -> how often it occurred
};

/// A run of random numbers is named by a 32-bit id: the hash of the path and name of what draws them.
std::uint32_t operation_id(std::string_view name);

/// Adds the backward nodes of everything `loss` depends on. `loss` is the accumulating state of the loss op; its
/// upstream gradient is 1 (the *sum* of token losses is differentiated).
/// Reverse-mode accumulation; contributions to one activation are summed by `add` nodes in reverse order of use.
/// @throws Error "graph.<kind>.gradient" for an op without one; "graph.differentiate.*".
void differentiate(Graph& graph, int loss);

/// One line per node: id, phase, layer, op, shapes, dims, flops, bytes; parameter list; totals. Stable text.
std::string to_text(Graph const& graph);

}  // namespace lamina::graph
