#include <sstream>

#include "lamina/base/hash.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/graph.hpp"

namespace lamina::graph {
namespace {

std::string_view name_of(Phase p) {
  switch (p) {
    case Phase::forward:
      return "forward";
    case Phase::backward:
      return "backward";
    case Phase::update:
      return "update";
  }
  return "";
}

std::string value_text(Attribute const& a) {
  if (auto const* real = std::get_if<double>(&a)) return exact(*real);
  if (auto const* integer = std::get_if<std::int64_t>(&a)) return text(*integer);
  return std::get<std::string>(a);
}

/// "f32[8 batch, 4]".
std::string spec_text(Value const& v) {
  std::string out = text(v.spec.dtype, '[');
  for (int d = 0; d < v.spec.shape.ndim(); ++d) {
    auto const& name = v.dims[static_cast<std::size_t>(d)];
    out += text(d == 0 ? "" : ", ", v.spec.shape[d], name.empty() ? "" : " ", name);
  }
  return out + ']';
}

/// How a value is called in a node's line: gradients and moments have the name of their parameter.
std::string reference(Value const& v) {
  bool const derived = v.role == Role::gradient || v.role == Role::moment1 || v.role == Role::moment2;
  return derived ? text(v.name, " (", v.role, ')') : v.name;
}

std::string output_text(Graph const& graph, Value const& v) {
  if (v.accumulates_into >= 0) return text("+= ", reference(graph.value(v.accumulates_into)));
  if (v.overwrites >= 0) return text(":= ", reference(graph.value(v.overwrites)));
  return text(reference(v), ' ', spec_text(v));
}

std::string init_text(Init const& init) {
  switch (init.kind) {
    case Init::Kind::zeros:
      return "zeros";
    case Init::Kind::ones:
      return "ones";
    case Init::Kind::normal:
      return text("normal ", exact(init.stddev));
    case Init::Kind::uniform:
      return text("uniform ", exact(init.bound));
  }
  return "";
}

Cost cost_of(Graph const& graph, Node const& n) {
  std::vector<TensorSpec> in;
  for (int const i : n.in) in.push_back(graph.value(i).spec);
  return n.op->cost(in);
}

std::string node_text(Graph const& graph, Node const& n, Cost const& cost) {
  std::ostringstream out;
  out << '%' << n.id << ' ' << name_of(n.phase) << ' ' << (n.layer.empty() ? "-" : n.layer) << ' ' << n.op->kind();
  std::string_view before = " {";
  auto const attributes = n.op->attributes();
  for (auto const& [name, value] : attributes) out << before << name << '=' << value_text(value), before = ", ";
  if (!attributes.empty()) out << '}';
  std::vector<std::string> in, results;
  for (int const i : n.in) in.push_back(reference(graph.value(i)));
  for (int const o : n.out) results.push_back(output_text(graph, graph.value(o)));
  out << " (" << join(in) << ") -> " << join(results) << " | flops " << cost.flops << " bytes " << cost.bytes << '\n';
  return out.str();
}

}  // namespace

std::uint32_t operation_id(std::string_view name) {
  auto const h = hash64(name);
  return static_cast<std::uint32_t>(h ^ (h >> 32));
}

std::string to_text(Graph const& graph) {
  std::ostringstream out;
  std::int64_t parameters = 0;
  for (auto const& v : graph.values()) {
    if (v.producer >= 0) continue;
    out << v.role << ' ' << v.name << ' ' << spec_text(v);
    if (v.role == Role::parameter) {
      parameters += v.spec.count();
      out << " init " << init_text(v.init) << (v.decay ? " decay" : "");
    }
    out << '\n';
  }
  Cost totals[3];
  for (auto const& n : graph.nodes()) {
    auto const cost = cost_of(graph, n);
    auto& total = totals[static_cast<int>(n.phase)];
    total.flops += cost.flops, total.bytes += cost.bytes;
    out << node_text(graph, n, cost);
  }
  out << "total: " << graph.nodes().size() << " nodes, " << graph.parameters().size() << " parameters of " << parameters
      << " elements\n";
  for (auto const p : {Phase::forward, Phase::backward, Phase::update}) {
    auto const& total = totals[static_cast<int>(p)];
    out << "total " << name_of(p) << ": flops " << total.flops << " bytes " << total.bytes << '\n';
  }
  return out.str();
}

}  // namespace lamina::graph
