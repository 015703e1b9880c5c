#include "lamina/graph/graph.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/shard_rule.hpp"

namespace lamina::graph {
namespace {

void require_dims(std::string_view name, TensorSpec const& spec, std::vector<std::string> const& dims) {
  if (static_cast<int>(dims.size()) == spec.shape.ndim()) return;
  fail({.code = "graph.value.dims",
        .subject = text("dim names of ", name),
        .found = text(dims.size(), " names (", join(dims), ") for ", spec),
        .expected = "one name per dim; \"\" for a dim without one",
        .fix = "list as many names as the shape has extents"});
}

void require_unused(Graph const& graph, std::string_view name, Role role) {
  if (graph.find(name, role) < 0) return;
  fail({.code = "graph.value.unique",
        .subject = text(name, ", role ", role),
        .found = "a second value of this name and role",
        .expected = "unique names",
        .fix = "build the layers in scopes of different names"});
}

/// Infers the outputs; an error says in which layer.
std::vector<TensorSpec> infer_in(std::string const& layer, Op const& op, std::vector<TensorSpec> const& in) {
  try {
    return op.infer(in);
  } catch (Error const& e) {
    auto info = e.info();
    if (!layer.empty()) info.subject = layer + ": " + info.subject;
    throw Error(std::move(info), e.place());
  }
}

}  // namespace

int Graph::append(Value value) {
  value.id = static_cast<int>(values_.size());
  ids_.try_emplace({value.name, value.role}, value.id);
  values_.push_back(std::move(value));
  return values_.back().id;
}

int Graph::add_input(std::string name, TensorSpec spec, std::vector<std::string> dims) {
  require_dims(name, spec, dims);
  require_unused(*this, name, Role::input);
  Value v;
  v.name = std::move(name), v.spec = spec, v.dims = std::move(dims), v.role = Role::input;
  return append(std::move(v));
}

int Graph::add_parameter(std::string name, TensorSpec spec, std::vector<std::string> dims, Init init, bool decay) {
  require_dims(name, spec, dims);
  require_unused(*this, name, Role::parameter);
  Value v;
  v.name = std::move(name), v.spec = spec, v.dims = std::move(dims), v.role = Role::parameter;
  v.init = init, v.decay = decay;
  return append(std::move(v));
}

int Graph::add_state(std::string name, TensorSpec spec, std::vector<std::string> dims, Role role, int parameter) {
  require_dims(name, spec, dims);
  require_unused(*this, name, role);
  Value v;
  v.name = std::move(name), v.spec = spec, v.dims = std::move(dims), v.role = role, v.parameter = parameter;
  int const id = append(std::move(v));
  if (role == Role::gradient && parameter >= 0) gradients_.try_emplace(parameter, id);
  return id;
}

void Graph::add_layer(std::string const& path, bool optional) {
  if (optional) optional_layers_.insert(path);
  if (!layers_.empty() && layers_.back() == path) return;
  if (known_layers_.insert(path).second) layers_.push_back(path);
}

std::vector<int> Graph::add_node(OpPtr op, std::vector<int> in, std::string layer, Phase phase,
                                 std::vector<int> const& targets) {
  auto const kind = op->kind();
  std::vector<TensorSpec> specs;
  std::vector<std::vector<std::string>> dims;
  for (int const i : in) {
    if (i < 0 || i >= static_cast<int>(values_.size())) {
      fail({.code = "graph.node.operand",
            .subject = text(layer, ": ", kind),
            .found = text("value id ", i, " of ", values_.size()),
            .expected = "ids of values of this graph",
            .fix = "pass what add_input, add_parameter, add_state or add_node gave back"});
    }
    specs.push_back(value(i).spec), dims.push_back(value(i).dims);
  }
  auto const out = infer_in(layer, *op, specs);
  auto const names = propagate_dims(expand_rule(op->shard_rule(), specs, out, kind), dims, kind);
  require_operation(*op, layer, phase);
  add_layer(layer);

  Node node{.id = static_cast<int>(nodes_.size()),
            .op = std::move(op),
            .in = std::move(in),
            .out = {},
            .layer = std::move(layer),
            .phase = phase};
  auto const base = unique_base(node.layer.empty() ? std::string(kind) : text(node.layer, '.', kind));
  for (std::size_t o = 0; o < out.size(); ++o) {
    Value v;
    v.name = out.size() == 1 ? base : text(base, '.', o);
    v.spec = out[o], v.dims = names[o], v.producer = node.id;
    int const target = o < targets.size() ? targets[o] : -1;
    bind_state(v, *node.op, static_cast<int>(o), node.in, target, node.layer);
    node.out.push_back(append(std::move(v)));
  }
  nodes_.push_back(std::move(node));
  return nodes_.back().out;
}

/// Output `o` as a version of the state that it accumulates into or overwrites.
void Graph::bind_state(Value& v, Op const& op, int o, std::vector<int> const& in, int target,
                       std::string const& layer) const {
  bool const accumulates = op.accumulates(o);
  bool const known = target >= 0 && target < static_cast<int>(values_.size());
  if (accumulates != (target >= 0) || (accumulates && (!known || value(target).spec != v.spec))) {
    fail({.code = "graph.node.target",
          .subject = text(layer, ": ", op.kind(), ", output ", o, ' ', v.spec),
          .found = known ? text("the target ", value(target).name, ' ', value(target).spec) : text("target ", target),
          .expected = accumulates ? "the state of the same dtype and shape that this output is added to"
                                  : "no target (-1): this output does not accumulate",
          .fix = "pass one target per output of add_node"});
  }
  int const state = accumulates ? target : op.overwrites(o) >= 0 ? in[static_cast<std::size_t>(op.overwrites(o))] : -1;
  if (state < 0) return;
  (accumulates ? v.accumulates_into : v.overwrites) = state;
  v.role = value(state).role, v.dims = value(state).dims, v.parameter = value(state).parameter;
}

/// Random bits are a function of the operation id, so two forward ops must not share one. (A dropout's backward has
/// the id of its forward.)
void Graph::require_operation(Op const& op, std::string const& layer, Phase phase) {
  if (phase != Phase::forward) return;
  auto const attributes = op.attributes();
  auto const* id = attributes.find("operation");
  if (id == nullptr || (attributes.has("p") && attributes.real("p") == 0)) return;
  auto const [at, inserted] = operations_.try_emplace(attributes.integer("operation"), text(layer, '.', op.kind()));
  if (inserted) return;
  fail({.code = "graph.dropout.operation",
        .subject = text(layer, '.', op.kind()),
        .found = text("operation ", at->first, ", which ", at->second, " has"),
        .expected = "an operation id of its own for every op that draws random numbers",
        .fix = "rename one of the two layers: the id is a hash of path and op"});
}

std::string Graph::unique_base(std::string base) {
  int const n = ++uses_[base];
  if (n == 1) return base;
  return unique_base(text(base, '_', n));
}

void Graph::mark_output(int id, std::string name) {
  require_unused(*this, name, Role::output);
  auto& v = mutable_value(id);
  ids_.erase({v.name, v.role});
  v.name = std::move(name), v.role = Role::output;
  ids_.try_emplace({v.name, v.role}, id);
}

int Graph::find(std::string_view name, Role role) const {
  auto const at = ids_.find({std::string(name), role});
  return at == ids_.end() ? -1 : at->second;
}

int Graph::gradient_of(int parameter) const {
  auto const at = gradients_.find(parameter);
  return at == gradients_.end() ? -1 : at->second;
}

std::vector<int> Graph::parameters() const {
  std::vector<int> ids;
  for (auto const& v : values_) {
    if (v.role == Role::parameter && v.producer < 0) ids.push_back(v.id);
  }
  return ids;
}

}  // namespace lamina::graph
