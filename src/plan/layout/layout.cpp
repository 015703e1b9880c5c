#include "plan/detail/layout.hpp"

#include <algorithm>
#include <optional>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/shard_rule.hpp"
#include "plan/detail/layout_errors.hpp"

namespace lamina::plan {
namespace {

constexpr char none = '\0';

using Rule = graph::ExpandedRule;

class Propagation {
 public:
  Propagation(graph::Graph const& graph, Mesh const& mesh, Policy const& policy)
      : graph_(graph), mesh_(mesh), policy_(policy), errors_(graph, mesh) {
    result_.values.resize(graph.values().size());
    result_.operands.resize(graph.nodes().size());
    result_.cuts.resize(graph.nodes().size());
    result_.outputs.assign(graph.values().size(), -1);
    for (auto const& v : graph.values()) {
      auto& layout = result_.values[static_cast<std::size_t>(v.id)];
      layout.axes.resize(mesh.axes.size());
      if (v.producer >= 0) continue;  // from its producer's rule
      for (std::size_t a = 0; a < mesh.axes.size(); ++a) {
        if (mesh.sizes[a] == 1) continue;
        int const d = policy.cut_dim(graph, v, mesh.axes[a]);
        if (d >= 0) layout.axes[a] = {Split::shard, d};
      }
    }
    written_.resize(graph.values().size() * mesh.axes.size());
    raw_.resize(graph.values().size());
  }

  Layouts run() {
    for (auto const& node : graph_.nodes()) {
      result_.operands[static_cast<std::size_t>(node.id)].assign(node.in.size(), -1);
      auto const rule = graph::expand_rule(node.op->shard_rule(), specs(node.in), specs(node.out), node.op->kind());
      for (std::size_t a = 0; a < mesh_.axes.size(); ++a) {
        if (mesh_.sizes[a] > 1) apply(node, rule, a);
      }
    }
    whole_outputs();
    mark_in_place();
    return std::move(result_);
  }

 private:
  AxisLayout& produced(int value, std::size_t axis) {
    return result_.values[static_cast<std::size_t>(value)].axes[axis];
  }
  int& operand(graph::Node const& n, std::size_t i) { return result_.operands[static_cast<std::size_t>(n.id)][i]; }
  AxisLayout current(graph::Node const& n, std::size_t i, std::size_t axis) {
    return result_.at(n.in[i], operand(n, i), axis);
  }
  bool converts(std::size_t axis) const { return mesh_.axes[axis] == "tp"; }

  std::vector<TensorSpec> specs(std::vector<int> const& ids) const {
    std::vector<TensorSpec> result;
    for (int const id : ids) result.push_back(graph_.value(id).spec);
    return result;
  }

  bool is_fixed(graph::Value const& v) const { return v.role == Role::parameter || v.role == Role::cache; }

  /// What parameters, caches and gradient states are cut along: the same for all of them.
  char fixed_letter(graph::Node const& node, Rule const& rule, std::size_t axis) {
    char letter = none;
    int by = -1;
    auto const take = [&](int value, std::string const& letters, AxisLayout layout) {
      if (layout.split != Split::shard) return;
      char const here = letters[static_cast<std::size_t>(layout.dim)];
      if (!rule.may_split(here)) errors_.whole(node, value, layout, axis);
      if (letter != none && letter != here) errors_.mismatch(node, by, value, axis, result_);
      letter = here, by = value;
    };
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (is_fixed(graph_.value(node.in[i]))) take(node.in[i], rule.in[i].letters, produced(node.in[i], axis));
    }
    for (std::size_t o = 0; o < node.out.size(); ++o) {
      int const state = graph_.value(node.out[o]).accumulates_into;
      if (state < 0 || graph_.value(state).role != Role::gradient) continue;
      int const parameter = graph_.value(state).parameter;
      if (parameter >= 0) take(state, rule.out[o].letters, produced(parameter, axis));
    }
    return letter;
  }

  bool is_tokens(graph::Value const& v, int dim) const {
    return dim >= 0 && dim < static_cast<int>(v.dims.size()) && v.dims[static_cast<std::size_t>(dim)] == "tokens";
  }

  /// A parameter or gradient has this letter; where those are not cut (`fixed_letter`), they stay whole.
  bool is_kept_whole(graph::Node const& node, Rule const& rule, char letter) const {
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (is_fixed(graph_.value(node.in[i])) && rule.in[i].letters.find(letter) != std::string::npos) return true;
    }
    for (std::size_t o = 0; o < node.out.size(); ++o) {
      int const state = graph_.value(node.out[o]).accumulates_into;
      bool const gradient = state >= 0 && graph_.value(state).role == Role::gradient;
      if (gradient && rule.out[o].letters.find(letter) != std::string::npos) return true;
    }
    return false;
  }

  /// The letter of an activation that is cut already; tokens only when nothing else is.
  char activation_letter(graph::Node const& node, Rule const& rule, std::size_t axis) {
    char letter = none;
    std::size_t by = 0;
    for (bool const tokens : {false, true}) {
      for (std::size_t i = 0; i < node.in.size() && letter == none; ++i) {
        auto const layout = current(node, i, axis);
        if (layout.split != Split::shard || is_tokens(graph_.value(node.in[i]), layout.dim) != tokens) continue;
        char const here = rule.in[i].letters[static_cast<std::size_t>(layout.dim)];
        if (converts(axis) && is_kept_whole(node, rule, here)) continue;  // the activation is gathered
        if (rule.may_split(here)) {
          letter = here, by = i;
        } else if (!converts(axis)) {
          errors_.whole(node, node.in[i], layout, axis);
        }
      }
    }
    if (letter != none && !converts(axis)) require_alike(node, rule, axis, letter, by);
    return letter != none ? letter : scattered_letter(node, rule, axis);
  }

  /// Sequence parallelism: a sum that is still to be made of rows [.., tokens, width] is made scattered over the
  /// tokens.
  char scattered_letter(graph::Node const& node, Rule const& rule, std::size_t axis) {
    if (!policy_.sequence_parallel || !converts(axis)) return none;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      auto const& v = graph_.value(node.in[i]);
      if (rule.in[i].as_is || current(node, i, axis).split != Split::partial_sum || v.spec.shape.ndim() < 3) continue;
      for (int d = 0; d < v.spec.shape.ndim(); ++d) {
        char const letter = rule.in[i].letters[static_cast<std::size_t>(d)];
        if (is_tokens(v, d) && rule.may_split(letter) && v.spec.shape[d] % mesh_.sizes[axis] == 0) return letter;
      }
    }
    return none;
  }

  /// Where nothing is converted, everything that has the letter has to be cut along it.
  void require_alike(graph::Node const& node, Rule const& rule, std::size_t axis, char letter, std::size_t by) {
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      auto const layout = current(node, i, axis);
      bool const has = rule.in[i].letters.find(letter) != std::string::npos;
      bool const cut = layout.split == Split::shard;
      if (cut && rule.in[i].letters[static_cast<std::size_t>(layout.dim)] != letter) {
        if (!rule.may_split(rule.in[i].letters[static_cast<std::size_t>(layout.dim)]))
          errors_.whole(node, node.in[i], layout, axis);
        errors_.mismatch(node, node.in[by], node.in[i], axis, result_);
      }
      if (has && !cut && !layout.is_partial()) errors_.mismatch(node, node.in[by], node.in[i], axis, result_);
    }
  }

  void apply(graph::Node const& node, Rule const& rule, std::size_t axis) {
    if (node.phase == graph::Phase::update) return update(node, axis);
    char letter = fixed_letter(node, rule, axis);
    if (letter == none) letter = activation_letter(node, rule, axis);
    bool any_raw = false;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (rule.in[i].as_is) {
        any_raw |= current(node, i, axis).is_partial();
        raw_[static_cast<std::size_t>(node.in[i])] = true;
      } else {
        convert(node, rule, i, letter, axis);
      }
    }
    bool const summed = letter != none && rule.contracted(letter);
    note_cut(node, rule, letter, summed, axis);
    for (std::size_t o = 0; o < node.out.size(); ++o) {
      write(node, node.out[o], output_layout(node, rule, o, letter, summed, any_raw, axis), axis);
    }
  }

  AxisLayout output_layout(graph::Node const& node, Rule const& rule, std::size_t o, char letter, bool summed,
                           bool any_raw, std::size_t axis) {
    auto const& term = rule.out[o];
    if (letter == none) return {any_raw && term.plus ? Split::partial_sum : Split::replicate, -1};
    if (auto const d = term.letters.find(letter); d != std::string::npos) return {Split::shard, static_cast<int>(d)};
    if (term.max) return {Split::partial_max, -1};
    if (summed || term.plus) return {Split::partial_sum, -1};
    if (!term.same) errors_.output(node, node.out[o], letter, axis);
    return {};
  }

  /// An optimizer reads whole sums: the plan reduces gradients before. What it writes lies as before.
  void update(graph::Node const& node, std::size_t axis) {
    for (int const o : node.out) {
      int const state = graph_.value(o).overwrites;
      write(node, o, state < 0 ? AxisLayout{} : produced(state, axis), axis);
    }
  }

  /// Brings an operand to what the letter asks for.
  void convert(graph::Node const& node, Rule const& rule, std::size_t i, char letter, std::size_t axis) {
    auto const& v = graph_.value(node.in[i]);
    auto const d = letter == none ? std::string::npos : rule.in[i].letters.find(letter);
    AxisLayout const want = d == std::string::npos ? AxisLayout{} : AxisLayout{Split::shard, static_cast<int>(d)};
    auto const have = current(node, i, axis);
    if (have == want) return;
    if (!converts(axis)) {
      if (have.is_partial()) errors_.partial(node, v.id, have, axis);
      if (have.split == Split::shard) errors_.whole(node, v.id, have, axis);
      return errors_.mismatch(node, v.id, v.id, axis, result_);
    }
    if (is_fixed(v) || v.role == Role::gradient) {
      if (have.is_partial()) errors_.partial(node, v.id, have, axis);
      if (have.split == Split::replicate)
        errors_.mismatch(node, cut_along(node, rule, letter, axis), v.id, axis, result_);
      errors_.whole(node, v.id, have, axis);
    }
    int& form = operand(node, i);
    if (have.split == Split::shard && want.split == Split::shard) form = find_form(node, v.id, form, {}, axis);
    form = find_form(node, v.id, form, want, axis);
  }

  /// The first operand that is cut along this letter.
  int cut_along(graph::Node const& node, Rule const& rule, char letter, std::size_t axis) {
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      auto const layout = current(node, i, axis);
      if (layout.split == Split::shard && rule.in[i].letters[static_cast<std::size_t>(layout.dim)] == letter)
        return node.in[i];
    }
    return node.in.front();
  }

  /// The form with this layout along the axis, made of `from`; one for all nodes of a phase and layer that ask for it.
  int find_form(graph::Node const& node, int value, int from, AxisLayout want, std::size_t axis) {
    auto const have = result_.at(value, from, axis);
    bool const at_producer = have.is_partial();
    for (std::size_t f = 0; f < result_.forms.size(); ++f) {
      auto const& known = result_.forms[f];
      if (known.value != value || known.from != from || known.axis != axis || known.layout.axes[axis] != want) continue;
      if (at_producer || asked_by_[f] == asker(node)) return static_cast<int>(f);
    }
    Form form{.value = value,
              .layout = from < 0 ? result_.values[static_cast<std::size_t>(value)]
                                 : result_.forms[static_cast<std::size_t>(from)].layout,
              .from = from,
              .axis = axis,
              .at_producer = at_producer};
    form.layout.axes[axis] = want;
    result_.forms.push_back(std::move(form));
    asked_by_.push_back(asker(node));
    return static_cast<int>(result_.forms.size()) - 1;
  }

  /// What is gathered or cut again lives only as long as one layer uses it in one phase.
  std::pair<graph::Phase, std::string> asker(graph::Node const& node) const { return {node.phase, node.layer}; }

  /// Attributes of steps that look at their coordinate.
  void note_cut(graph::Node const& node, Rule const& rule, char letter, bool summed, std::size_t axis) {
    if (letter == none) return;
    auto& cut = result_.cuts[static_cast<std::size_t>(node.id)];
    auto const a = static_cast<int>(axis);
    if (summed && std::any_of(rule.in.begin(), rule.in.end(), [](auto const& t) { return t.plus; })) {
      cut.holders.push_back(a);
    }
    if (mesh_.axes[axis] == "dp") return;  // the host tells each replica its first sample
    auto const kind = node.op->kind();
    bool const draws = node.op->attributes().real("p", 0.0) > 0;
    bool const table = kind == "embedding" || kind == "embedding_grad" || kind == "head_loss_stats" ||
                       kind == "head_loss_sum" || kind == "head_loss_grad";
    if (!draws && !table) return;
    auto const& letters = kind == "embedding_grad" ? rule.out[0].letters
                          : table                  ? rule.in[kind == "embedding" ? 0 : 1].letters
                                                   : rule.in[kind == "attention_grad" ? 1 : 0].letters;
    auto const d = letters.find(letter);
    if (d == std::string::npos || (table && d != 0)) return;  // a table's width may be cut: all words are here
    cut.axis = a, cut.dim = static_cast<int>(d);
  }

  void write(graph::Node const& node, int value, AxisLayout layout, std::size_t axis) {
    auto const& v = graph_.value(value);
    produced(value, axis) = layout;
    int const state = v.accumulates_into >= 0 ? v.accumulates_into : v.overwrites;
    if (state < 0) return;
    auto& known = produced(state, axis);
    auto written = written_[static_cast<std::size_t>(state) * mesh_.axes.size() + axis];
    if ((written || v.overwrites >= 0) && known != layout) errors_.writers(node, state, layout, known, axis);
    auto const& s = graph_.value(state);
    if (!layout.is_partial() && s.role == Role::gradient && s.parameter >= 0 && layout != produced(s.parameter, axis)) {
      errors_.writers(node, state, layout, produced(s.parameter, axis), axis);
    }
    known = layout;
    written = true;
  }

  /// What the host reads is whole on every rank of a tensor-parallel group.
  void whole_outputs() {
    for (auto const& v : graph_.values()) {
      if (v.role != Role::output || v.producer < 0 || v.accumulates_into >= 0 || v.overwrites >= 0) continue;
      auto& form = result_.outputs[static_cast<std::size_t>(v.id)];
      for (std::size_t a = 0; a < mesh_.axes.size(); ++a) {
        if (mesh_.sizes[a] == 1 || !converts(a) || produced(v.id, a).split == Split::replicate) continue;
        form = find_form(graph_.node(v.producer), v.id, form, {}, a);
      }
    }
  }

  /// A sum may be completed where it lies when nobody else reads the terms.
  void mark_in_place() {
    for (auto& form : result_.forms) {
      auto const made = std::count_if(result_.forms.begin(), result_.forms.end(),
                                      [&](Form const& f) { return f.value == form.value && f.from == form.from; });
      form.in_place = form.at_producer && form.layout.axes[form.axis].split == Split::replicate && made == 1 &&
                      !raw_[static_cast<std::size_t>(form.value)];
    }
  }

  graph::Graph const& graph_;
  Mesh const& mesh_;
  Policy const& policy_;
  LayoutErrors errors_;
  Layouts result_;
  std::vector<bool> written_;  // by state and axis
  std::vector<bool> raw_;      // value is read as it is by some node
  std::vector<std::pair<graph::Phase, std::string>> asked_by_;
};

}  // namespace

std::vector<std::size_t> Layouts::partial_axes(int gradient) const {
  std::vector<std::size_t> axes;
  auto const& layout = values[static_cast<std::size_t>(gradient)];
  for (std::size_t a = 0; a < layout.axes.size(); ++a) {
    if (layout.axes[a].is_partial()) axes.push_back(a);
  }
  return axes;
}

Layouts propagate(graph::Graph const& graph, Mesh const& mesh, Policy const& policy) {
  return Propagation(graph, mesh, policy).run();
}

Shape local_shape(graph::Value const& value, Layout const& layout, Mesh const& mesh) {
  auto shape = value.spec.shape;
  for (std::size_t a = 0; a < layout.axes.size(); ++a) {
    if (layout.axes[a].split != Split::shard) continue;
    auto const d = layout.axes[a].dim;
    std::int64_t const parts = mesh.sizes[a];
    auto const& name = static_cast<std::size_t>(d) < value.dims.size() ? value.dims[static_cast<std::size_t>(d)] : "";
    if (shape[d] % parts != 0 && name != "vocab") fail_divisibility(value, d, shape[d], mesh, a);
    shape[d] = (shape[d] + parts - 1) / parts;
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
