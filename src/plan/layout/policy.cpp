#include "plan/detail/policy.hpp"

#include <algorithm>
#include <array>

#include "lamina/base/text.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {
namespace {

struct Row {
  std::string_view dim, axis;
};

// Samples go to replicas; heads, feed-forward columns and the vocabulary to tensor-parallel ranks.
constexpr std::array<Row, 4> table{{
    {"batch", "dp"},
    {"heads", "tp"},
    {"ff", "tp"},
    {"vocab", "tp"},
}};

int dim_named(graph::Value const& value, std::string_view axis, Policy const& policy) {
  for (std::size_t d = 0; d < value.dims.size(); ++d) {
    if (policy.axis_of(value.dims[d]) == axis) return static_cast<int>(d);
  }
  return -1;
}

}  // namespace

std::string_view Policy::axis_of(std::string_view dim) const {
  for (auto const& row : table) {
    if (row.dim != dim) continue;
    // Generation runs one sequence: every replica computes the same one, and the host wants whole logits.
    if (purpose == Purpose::generate && (row.axis == "dp" || row.dim == "vocab")) return "";
    return row.axis;
  }
  return "";
}

int Policy::cut_dim(graph::Graph const& graph, graph::Value const& value, std::string_view axis) const {
  auto const& v = value.parameter >= 0 ? graph.value(value.parameter) : value;
  if (axis != "tp") return dim_named(v, axis, *this);
  if (v.role != Role::parameter) return v.role == Role::cache ? dim_named(v, axis, *this) : -1;
  for (auto const& [layer, dim] : split) {
    if (!v.name.starts_with(layer + ".")) continue;
    if (dim == "none") return -1;
    bool const weight = v.spec.shape.ndim() > 1;
    if (dim == "out") return 0;
    return weight ? v.spec.shape.ndim() - 1 : -1;
  }
  return dim_named(v, axis, *this);
}

Policy make_policy(config::RunConfig const& config, Purpose purpose, Mesh const& mesh, graph::Graph const& graph) {
  Policy policy;
  policy.purpose = purpose;
  policy.sequence_parallel = config.parallel.sequence_parallel && purpose != Purpose::generate;
  auto const& layers = graph.layers();
  // A matrix, or what is cut over tp without an override, as the bias of a tied head.
  auto const has_weight = [&](int layer) {
    auto const prefix = layers[static_cast<std::size_t>(layer)] + ".";
    return std::any_of(graph.values().begin(), graph.values().end(), [&](auto const& v) {
      return v.role == Role::parameter && v.name.starts_with(prefix) &&
             (v.spec.shape.ndim() > 1 || dim_named(v, "tp", policy) >= 0);
    });
  };
  std::vector<ErrorInfo> problems;
  // Later overrides win, so they are looked up first.
  for (auto s = config.parallel.split.rbegin(); s != config.parallel.split.rend(); ++s) {
    for (auto const& selector : s->layers) {
      auto const found = select({selector}, layers, "parallel.split", problems);
      bool const any = std::any_of(found.begin(), found.end(), has_weight);
      if (!found.empty() && !any) {
        problems.push_back(
            {.code = "plan.split.no_weight",
             .subject = text("parallel.split: \"", selector, "\" selects no layer with a weight matrix"),
             .found = text(layers[static_cast<std::size_t>(found.front())], ", which has none of its own"),
             .expected = "linear or embedding layers; what has no matrix is split as its input is",
             .fix = "name the layer that holds the weight (a tied head's is the embedding's), or remove the entry"});
      }
      for (int const i : found) {
        if (mesh.size("tp") > 1 && has_weight(i)) {
          policy.split.emplace_back(layers[static_cast<std::size_t>(i)], s->dim);
        }
      }
    }
  }
  fail_if_any(problems);
  return policy;
}

}  // namespace lamina::plan
