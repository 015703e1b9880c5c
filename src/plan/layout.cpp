#include "plan/detail/layout.hpp"

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/shard_rule.hpp"

namespace lamina::plan {
namespace {

constexpr char none = '\0';

using Rule = graph::ExpandedRule;

class Propagation {
 public:
  Propagation(graph::Graph const& graph, Mesh const& mesh, Purpose purpose) : graph_(graph), mesh_(mesh) {
    result_.values.resize(graph.values().size());
    for (auto const& v : graph.values()) {
      auto& layout = result_.values[static_cast<std::size_t>(v.id)];
      layout.axes.resize(mesh.axes.size());
      if (v.producer >= 0) continue;  // from its producer's rule
      for (std::size_t d = 0; d < v.dims.size(); ++d) {
        int const a = mesh.find_axis(axis_of(v.dims[d], purpose));
        if (a >= 0 && mesh.size(mesh.axes[static_cast<std::size_t>(a)]) > 1) {
          layout.axes[static_cast<std::size_t>(a)] = {Split::shard, static_cast<int>(d)};
        }
      }
    }
    written_.resize(graph.values().size() * mesh.axes.size());
  }

  Layouts run() {
    for (auto const& node : graph_.nodes()) {
      auto const rule = graph::expand_rule(node.op->shard_rule(), specs(node.in), specs(node.out), node.op->kind());
      for (std::size_t a = 0; a < mesh_.axes.size(); ++a) {
        if (mesh_.sizes[a] > 1) apply(node, rule, a);
      }
    }
    for (auto const& v : graph_.values()) convert(v);
    return std::move(result_);
  }

 private:
  AxisLayout& at(int value, std::size_t axis) { return result_.values[static_cast<std::size_t>(value)].axes[axis]; }

  std::string where(graph::Node const& n) const { return text(n.layer, ": ", n.op->kind()); }
  std::string over(std::size_t axis) const { return text(" over mesh axis '", mesh_.axes[axis], "'"); }

  std::vector<TensorSpec> specs(std::vector<int> const& ids) const {
    std::vector<TensorSpec> result;
    for (int const id : ids) result.push_back(graph_.value(id).spec);
    return result;
  }

  /// The letter that is split over the axis in this node, or `none`; refuses what the rule does not allow.
  char split_letter(graph::Node const& node, Rule const& rule, std::size_t axis) {
    char letter = none;
    std::size_t by = 0;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      auto const layout = at(node.in[i], axis);
      auto const& v = graph_.value(node.in[i]);
      if (layout.split == Split::partial_sum || layout.split == Split::partial_max) refuse_partial(node, v, axis);
      if (layout.split != Split::shard) continue;
      char const here = rule.in[i].letters[static_cast<std::size_t>(layout.dim)];
      if (!rule.may_split(here)) refuse_whole(node, v, layout, axis);
      if (letter != none && letter != here) refuse_mismatch(node, graph_.value(node.in[by]), v, axis);
      letter = here, by = i;
    }
    if (letter == none) return none;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      bool const has = rule.in[i].letters.find(letter) != std::string::npos;
      if (has && at(node.in[i], axis).split != Split::shard) {
        refuse_mismatch(node, graph_.value(node.in[by]), graph_.value(node.in[i]), axis);
      }
    }
    return letter;
  }

  void apply(graph::Node const& node, Rule const& rule, std::size_t axis) {
    if (node.phase == graph::Phase::update) {
      for (int const v : node.in) convert(graph_.value(v));  // gradients are whole before the optimizer reads them
    }
    char const letter = split_letter(node, rule, axis);
    bool const summed = letter != none && rule.contracted(letter);
    if (summed) require_nothing_added(node, rule, axis);
    for (std::size_t o = 0; o < node.out.size(); ++o) {
      AxisLayout layout;
      if (letter != none) {
        if (auto const d = rule.out[o].letters.find(letter); d != std::string::npos) {
          layout = {Split::shard, static_cast<int>(d)};
        } else if (!summed && !rule.out[o].plus) {
          refuse_output(node, graph_.value(node.out[o]), letter, axis);
        } else {
          layout.split = Split::partial_sum;
        }
      }
      write(node, node.out[o], layout, axis);
    }
  }

  /// A bias would be added by every holder of a term of the sum.
  void require_nothing_added(graph::Node const& node, Rule const& rule, std::size_t axis) const {
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (!rule.in[i].plus) continue;
      fail({.code = "plan.layout.added",
            .subject = text(where(node), " adds ", graph_.value(node.in[i]).name, over(axis)),
            .found = "an output that is partial(sum)",
            .expected = "an operand that is added once is not available yet for a product split over its sum",
            .fix = "leave the bias out, or split another dim"});
    }
  }

  void write(graph::Node const& node, int value, AxisLayout layout, std::size_t axis) {
    auto const& v = graph_.value(value);
    at(value, axis) = layout;
    int const state = v.accumulates_into >= 0 ? v.accumulates_into : v.overwrites;
    if (state < 0) return;
    auto& known = at(state, axis);
    auto written = written_[static_cast<std::size_t>(state) * mesh_.axes.size() + axis];
    if ((written || v.overwrites >= 0) && known != layout) {
      fail({.code = "plan.layout.writers",
            .subject = text(where(node), " writes ", graph_.value(state).name, over(axis)),
            .found = text(to_text(layout), ", while it is ", to_text(known)),
            .expected = "all writers of a tensor leave it in one layout",
            .fix = "use the parameter in layers that are split alike, or give each its own parameter"});
    }
    known = layout;
    written = true;
  }

  void convert(graph::Value const& v) {
    if (v.role != Role::gradient || v.producer >= 0) return;  // a state, not one of its versions
    for (std::size_t a = 0; a < mesh_.axes.size(); ++a) {
      auto& layout = at(v.id, a);
      if (layout.split != Split::partial_sum) continue;
      result_.conversions.push_back({v.id, static_cast<int>(a), layout, {}});
      layout = {};
    }
  }

  [[noreturn]] void refuse_partial(graph::Node const& node, graph::Value const& v, std::size_t axis) {
    fail({.code = "plan.layout.partial",
          .subject = text(where(node), " reads ", v.name, over(axis)),
          .found = to_text(at(v.id, axis)),
          .expected = "replicate or shard: each rank holds only a term of the sum",
          .fix = "accumulate it into a gradient, which the plan reduces, or sum over a dim that is not split"});
  }

  [[noreturn]] void refuse_whole(graph::Node const& node, graph::Value const& v, AxisLayout layout, std::size_t axis) {
    auto const& dim = v.dims.empty() ? std::string() : v.dims[static_cast<std::size_t>(layout.dim)];
    fail({.code = "plan.layout.whole",
          .subject = text(where(node), " reads ", v.name, over(axis)),
          .found = text(to_text(layout), ", dim '", dim, "'; rule \"", node.op->shard_rule().letters, "\""),
          .expected = "replicate: the op needs this dim whole",
          .fix = text("set mesh.", mesh_.axes[axis], " = 1, or give the dim a name that no axis splits")});
  }

  [[noreturn]] void refuse_mismatch(graph::Node const& node, graph::Value const& a, graph::Value const& b,
                                    std::size_t axis) {
    fail({.code = "plan.layout.mismatch",
          .subject = text(where(node), " combines ", a.name, " and ", b.name, over(axis)),
          .found = text(a.name, " is ", to_text(at(a.id, axis)), ", ", b.name, " is ", to_text(at(b.id, axis))),
          .expected = text("equal cuts of equal letters of \"", node.op->shard_rule().letters, "\""),
          .fix = "give the dims of both tensors the same logical names"});
  }

  [[noreturn]] void refuse_output(graph::Node const& node, graph::Value const& v, char letter, std::size_t axis) {
    fail({.code = "plan.layout.output",
          .subject = text(where(node), " writes ", v.name, over(axis)),
          .found = text("letter '", letter, "' is split, and this output neither has it nor sums over it"),
          .expected = text("a '+' term in \"", node.op->shard_rule().letters, "\""),
          .fix = text("set mesh.", mesh_.axes[axis], " = 1, or correct Op::shard_rule of this op")});
  }

  graph::Graph const& graph_;
  Mesh const& mesh_;
  Layouts result_;
  std::vector<bool> written_;  // by state and axis
};

}  // namespace

Layouts propagate(graph::Graph const& graph, Mesh const& mesh, Purpose purpose) {
  return Propagation(graph, mesh, purpose).run();
}

Shape local_shape(graph::Value const& value, Layout const& layout, Mesh const& mesh) {
  auto shape = value.spec.shape;
  for (std::size_t a = 0; a < layout.axes.size(); ++a) {
    if (layout.axes[a].split != Split::shard) continue;
    auto const d = layout.axes[a].dim;
    std::int64_t const parts = mesh.sizes[a];
    if (shape[d] % parts != 0) {
      fail({.code = "plan.shard.divisibility",
            .subject = text(value.name, ": cannot split dim ", d, " ('", value.dims[static_cast<std::size_t>(d)],
                            "') over mesh axis '", mesh.axes[a], "'"),
            .found = text("extent ", shape[d], ", mesh.", mesh.axes[a], " = ", parts),
            .expected = text("mesh.", mesh.axes[a], " divides the extent"),
            .fix = text("take an extent from ", shape[d] / parts * parts, ", ", (shape[d] / parts + 1) * parts,
                        ", or another mesh.", mesh.axes[a])});
    }
    shape[d] /= parts;
  }
  return shape;
}

std::string to_text(AxisLayout const& layout) {
  switch (layout.split) {
    case Split::replicate:
      return "replicate";
    case Split::shard:
      return text("shard(", layout.dim, ")");
    case Split::partial_sum:
      return "partial(sum)";
    case Split::partial_max:
      return "partial(max)";
  }
  return "";
}

std::string to_text(Layout const& layout, Mesh const& mesh) {
  std::vector<std::string> parts;
  for (std::size_t a = 0; a < layout.axes.size(); ++a) {
    if (mesh.sizes[a] > 1) parts.push_back(text(mesh.axes[a], "=", to_text(layout.axes[a])));
  }
  return parts.empty() ? "replicate" : join(parts, " ");
}

}  // namespace lamina::plan
