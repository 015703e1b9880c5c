#include "plan/detail/recompute.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/config/run_config.hpp"
#include "lamina/graph/ops/activation.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {
namespace {

using graph::Graph;
using graph::Node;
using graph::Phase;
using Index = std::size_t;

constexpr int outside = -1;  // group of what is not recomputed
constexpr std::array<std::string_view, 6> cheap_kinds{"layer_norm", "gelu", "relu", "cast", "dropout", "add"};

/// How a value can be made again: an op over values of the original graph, and which of these its outputs are.
struct Recipe {
  graph::OpPtr op;
  std::vector<int> in, out;
};

class Rewrite {
 public:
  Rewrite(Graph const& from, Recomputation const& wanted)
      : from_(from),
        full_(wanted.mode == "full"),
        stage_(wanted.stage),
        map_(from.values().size(), -1),
        kept_(from.values().size()) {
    groups(wanted);
    read_.resize(from.values().size());
    for (auto const& n : from.nodes()) {
      for (int const v : n.in) read_[Index(v)] = read_[Index(v)] || n.phase == Phase::backward;
    }
  }

  Recomputed run() {
    leaves();
    for (auto const& n : from_.nodes()) {
      std::vector<int> in;
      for (int const v : n.in) in.push_back(n.phase == Phase::backward ? demand(v, group(n), n) : map_[Index(v)]);
      auto const made = to_.add_node(n.op, std::move(in), n.layer, n.phase, targets(n));
      for (Index o = 0; o < made.size(); ++o) {
        auto const& v = from_.value(n.out[o]);
        map_[Index(v.id)] = made[o];
        if (v.role == Role::output && v.accumulates_into < 0 && v.overwrites < 0) to_.mark_output(made[o], v.name);
      }
    }
    return {.graph = std::move(to_), .nodes = nodes_, .flops = flops_};
  }

 private:
  /// Selected layers of one block and one stage are one group.
  void groups(Recomputation const& wanted) {
    std::vector<std::string> paths;
    for (auto const& n : from_.nodes()) {
      if (std::find(paths.begin(), paths.end(), n.layer) == paths.end()) paths.push_back(n.layer);
    }
    std::vector<ErrorInfo> problems;
    std::map<std::pair<std::string, int>, int> known;
    // A model without blocks is one block a stage, and the default means all of it.
    bool const has_blocks = std::any_of(paths.begin(), paths.end(), [](auto const& p) { return is_block(p); });
    bool const everything = !has_blocks && wanted.layers == config::Memory{}.recompute_layers;
    auto const selectors = everything ? std::vector<std::string>{"*"} : wanted.layers;
    for (int const i : select(selectors, paths, "memory.recompute_layers", problems)) {
      auto const& layer = paths[Index(i)];
      auto const block = has_blocks ? block_of(layer) : std::string();
      auto const [at, is_new] = known.emplace(std::pair(block, stage(layer)), static_cast<int>(known.size()));
      groups_[layer] = at->second;
      if (is_new) stages_.push_back(stage(layer));
    }
    fail_if_any(problems);
  }
  int stage(std::string const& layer) const { return stage_ ? stage_(layer) : 0; }
  int group(Node const& n) const {
    auto const at = groups_.find(n.layer);
    return at == groups_.end() ? outside : at->second;
  }

  void leaves() {
    for (auto const& v : from_.values()) {
      if (v.producer >= 0) continue;
      int const parameter = v.parameter < 0 ? -1 : map_[Index(v.parameter)];
      map_[Index(v.id)] = v.role == Role::input       ? to_.add_input(v.name, v.spec, v.dims)
                          : v.role == Role::parameter ? to_.add_parameter(v.name, v.spec, v.dims, v.init, v.decay)
                                                      : to_.add_state(v.name, v.spec, v.dims, v.role, parameter);
    }
  }
  std::vector<int> targets(Node const& n) const {
    std::vector<int> all;
    for (int const o : n.out) {
      int const state = from_.value(o).accumulates_into;
      all.push_back(state < 0 ? -1 : map_[Index(state)]);
    }
    return all;
  }

  /// The node that made a value in the forward; null for parameters, inputs, states and what the backward makes.
  Node const* maker(int value) const {
    int const producer = from_.value(value).producer;
    if (producer < 0 || from_.node(producer).phase != Phase::forward) return nullptr;
    return &from_.node(producer);
  }
  static bool is_pure(Node const& n) {
    for (int o = 0; o < static_cast<int>(n.out.size()); ++o) {
      if (n.op->accumulates(o) || n.op->overwrites(o) >= 0) return false;
    }
    return true;
  }

  /// The cheap half of a fused op, from what its other half left.
  static std::optional<Recipe> half(Node const& n, int value) {
    if (value == n.out[0]) return std::nullopt;
    if (auto const* op = dynamic_cast<graph::AddLayerNorm const*>(n.op.get())) {
      return Recipe{.op = std::make_shared<graph::LayerNorm>(op->attrs()),
                    .in = {n.out[0], n.in[2], n.in[3]},
                    .out = {n.out[1], n.out[2], n.out[3]}};
    }
    if (auto const* op = dynamic_cast<graph::LinearGelu const*>(n.op.get())) {
      using F = graph::Activation::Function;
      return Recipe{.op = std::make_shared<graph::Activation>(op->activation() == "gelu" ? F::gelu : F::relu),
                    .in = {n.out[0]},
                    .out = {n.out[1]}};
    }
    return std::nullopt;
  }

  /// Of selective: what makes `value` again from what is kept anyway.
  std::optional<Recipe> cheap(int value) const {
    auto const* n = maker(value);
    if (n == nullptr || !is_pure(*n)) return std::nullopt;
    auto recipe = half(*n, value);
    if (!recipe && std::find(cheap_kinds.begin(), cheap_kinds.end(), n->op->kind()) != cheap_kinds.end()) {
      recipe = Recipe{.op = n->op, .in = n->in, .out = n->out};
    }
    auto const is_there = [&](int u) {
      auto const* m = maker(u);
      return m == nullptr || read_[Index(u)] || (stage(m->layer) == stage(n->layer) && cheap(u));
    };
    if (recipe && !std::all_of(recipe->in.begin(), recipe->in.end(), is_there)) return std::nullopt;
    return recipe;
  }

  /// How group `g` makes `value` again, if it does.
  std::optional<Recipe> recipe_of(int value, int g) const {
    auto const* n = maker(value);
    if (g == outside || n == nullptr || kept_[Index(value)] || !is_pure(*n)) return std::nullopt;
    if (stage(n->layer) != stages_[Index(g)])
      return std::nullopt;  // it came as a message; its parameters are elsewhere
    if (!full_) return cheap(value);
    if (group(*n) != g) {  // it enters the block; a norm that fusion moved to the block before comes with its input
      return dynamic_cast<graph::AddLayerNorm const*>(n->op.get()) != nullptr ? half(*n, value) : std::nullopt;
    }
    auto const from_half = half(*n, value);
    if (from_half && kept_[Index(n->out[0])]) return from_half;
    return Recipe{.op = n->op, .in = n->in, .out = n->out};
  }

  /// The value of the new graph that a node of the backward reads in place of `value`.
  int demand(int value, int g, Node const& reader) {
    if (auto const at = clones_.find({value, g}); at != clones_.end()) return at->second;
    auto const recipe = recipe_of(value, g);
    if (!recipe) {
      kept_[Index(value)] = true;
      return map_[Index(value)];
    }
    std::vector<int> in;
    for (int const u : recipe->in) in.push_back(demand(u, g, reader));
    std::vector<TensorSpec> specs;
    for (int const u : in) specs.push_back(to_.value(u).spec);
    auto const& original = *maker(value);
    auto const made =
        to_.add_node(recipe->op, in, group(original) == g ? original.layer : reader.layer, Phase::backward);
    for (Index o = 0; o < made.size(); ++o) clones_.try_emplace({recipe->out[o], g}, made[o]);
    ++nodes_;
    flops_ += recipe->op->cost(specs).flops;
    return clones_.at({value, g});
  }

  Graph const& from_;
  Graph to_;
  bool full_;
  std::function<int(std::string const&)> stage_;
  std::map<std::string, int> groups_;          // layer -> group, of the selected ones
  std::vector<int> stages_;                    // of the groups
  std::vector<int> map_;                       // value -> value of the new graph
  std::vector<bool> read_;                     // by the backward of the original
  std::vector<bool> kept_;                     // read by the backward of the new graph so far
  std::map<std::pair<int, int>, int> clones_;  // value and group -> value of the new graph
  int nodes_ = 0;
  std::int64_t flops_ = 0;
};

}  // namespace

Recomputed recompute(graph::Graph const& graph, Recomputation const& wanted) {
  if (wanted.mode == "none") return {.graph = graph, .nodes = 0, .flops = 0};
  if (wanted.mode != "selective" && wanted.mode != "full") {
    fail({.code = "plan.recompute.mode",
          .subject = "memory.recompute",
          .found = text('"', wanted.mode, '"'),
          .expected = "none, selective or full",
          .fix = "take one of these"});
  }
  return Rewrite(graph, wanted).run();
}

}  // namespace lamina::plan
