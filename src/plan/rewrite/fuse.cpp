#include "plan/detail/fuse.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "lamina/graph/ops/activation.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/loss.hpp"
#include "plan/detail/rebuild.hpp"

namespace lamina::plan {
namespace {

using graph::Graph;
using graph::Node;

/// One op in place of several nodes.
struct Rewrite {
  int at = -1;             ///< node in whose place, layer and phase it goes
  std::vector<int> nodes;  ///< all that it replaces
  graph::OpPtr op;
  std::vector<int> in, out;  ///< values of the old graph
};

class Matcher {
 public:
  explicit Matcher(Graph const& g) : graph_(g), users_(g.values().size()), taken_(g.nodes().size()) {
    for (auto const& n : g.nodes()) {
      for (int const v : n.in) users_[static_cast<std::size_t>(v)].push_back(n.id);
    }
  }

  std::optional<Rewrite> linear_gelu(Node const& n) const {
    auto const* linear = as<graph::Linear>(n);
    if (linear == nullptr || spec(n.in[0]).dtype != spec(n.out[0]).dtype || is_output(n.out[0])) return std::nullopt;
    auto const* user = first_user<graph::Activation>(n.out[0]);
    if (user == nullptr) return std::nullopt;
    return Rewrite{.at = n.id,
                   .nodes = {n.id, user->id},
                   .op = std::make_shared<graph::LinearGelu>(linear->attrs(), std::string(user->op->kind())),
                   .in = n.in,
                   .out = {n.out[0], user->out[0]}};
  }

  std::optional<Rewrite> add_layer_norm(Node const& n) const {
    if (as<graph::Add>(n) == nullptr || n.phase != graph::Phase::forward || is_output(n.out[0])) return std::nullopt;
    auto const* user = first_user<graph::LayerNorm>(n.out[0]);
    if (user == nullptr || user->in[0] != n.out[0] || produced(user->in[1]) || produced(user->in[2]))
      return std::nullopt;
    return Rewrite{.at = n.id,
                   .nodes = {n.id, user->id},
                   .op = std::make_shared<graph::AddLayerNorm>(as<graph::LayerNorm>(*user)->attrs()),
                   .in = {n.in[0], n.in[1], user->in[1], user->in[2]},
                   .out = {n.out[0], user->out[0], user->out[1], user->out[2]}};
  }

  /// The gradient that reaches x on its other path, added after the fact. (Differentiation adds it by itself when it is
  /// known in time.)
  std::optional<Rewrite> layer_norm_grad(Node const& n) const {
    auto const* grad = as<graph::LayerNormGrad>(n);
    if (grad == nullptr || grad->attrs().residual || users(n.out[0]).size() != 1) return std::nullopt;
    auto const* sum = first_user<graph::Add>(n.out[0]);
    if (sum == nullptr || sum->in[0] == sum->in[1]) return std::nullopt;
    int const residual = sum->in[0] == n.out[0] ? sum->in[1] : sum->in[0];
    if (spec(residual).dtype != DType::f32) return std::nullopt;
    auto in = n.in;
    in.push_back(residual);
    return Rewrite{.at = sum->id,
                   .nodes = {n.id, sum->id},
                   .op = std::make_shared<graph::LayerNormGrad>(graph::LayerNormGrad::Attrs{.residual = true}),
                   .in = std::move(in),
                   .out = {sum->out[0], n.out[1], n.out[2]}};
  }

  /// Statistics, loss and gradients of the head, so that the logits are computed once.
  std::optional<Rewrite> head_loss(Node const& n) const {
    auto const* rescale = rescale_of(n);
    if (rescale == nullptr) return std::nullopt;
    auto const* sum = first_user<graph::LossSum>(n.out[0]);
    auto const* grad = first_user<graph::HeadLossGrad>(n.out[0]);
    if (sum == nullptr || grad == nullptr) return std::nullopt;
    bool const same = std::equal(n.in.begin(), n.in.end(), grad->in.begin());
    for (int const o : {n.out[0], n.out[1], n.out[2], rescale->out[0]}) {
      for (int const u : users(o)) {
        if (u != rescale->id && u != sum->id && u != grad->id) return std::nullopt;
      }
    }
    if (!same) return std::nullopt;
    Rewrite r{.at = n.id,  // the last of the forward, directly before its gradient
              .nodes = {n.id, rescale->id, sum->id, grad->id},
              .op = std::make_shared<graph::HeadLoss>(as<graph::HeadLossGrad>(*grad)->attrs()),
              .in = n.in,
              .out = {sum->out[0]}};
    r.out.insert(r.out.end(), grad->out.begin(), grad->out.end());
    return r;
  }

  /// Sums that are relative to the maximum of all logits already.
  std::optional<Rewrite> whole_stats(Node const& n) const {
    auto const* rescale = rescale_of(n);
    if (rescale == nullptr || users(n.out[1]).size() != 1) return std::nullopt;
    return Rewrite{
        .at = n.id, .nodes = {n.id, rescale->id}, .op = n.op, .in = n.in, .out = {n.out[0], rescale->out[0], n.out[2]}};
  }

  bool try_take(Rewrite const& r) {
    auto const is_taken = [&](int n) -> bool { return taken_[static_cast<std::size_t>(n)]; };
    if (std::any_of(r.nodes.begin(), r.nodes.end(), is_taken)) return false;
    for (int const n : r.nodes) taken_[static_cast<std::size_t>(n)] = true;
    return true;
  }
  bool is_taken(int node) const { return taken_[static_cast<std::size_t>(node)]; }

 private:
  /// The softmax_rescale of a head's own statistics with its own maximum.
  Node const* rescale_of(Node const& n) const {
    if (as<graph::HeadLossStats>(n) == nullptr) return nullptr;
    auto const* rescale = first_user<graph::SoftmaxRescale>(n.out[1]);
    return rescale != nullptr && rescale->in == std::vector<int>{n.out[1], n.out[0], n.out[0]} ? rescale : nullptr;
  }
  template <class T>
  static T const* as(Node const& n) {
    return dynamic_cast<T const*>(n.op.get());
  }
  template <class T>
  Node const* first_user(int value) const {
    for (int const u : users(value)) {
      if (as<T>(graph_.node(u)) != nullptr) return &graph_.node(u);
    }
    return nullptr;
  }
  std::vector<int> const& users(int value) const { return users_[static_cast<std::size_t>(value)]; }
  TensorSpec const& spec(int value) const { return graph_.value(value).spec; }
  bool is_output(int value) const { return graph_.value(value).role == Role::output; }
  bool produced(int value) const { return graph_.value(value).producer >= 0; }

  Graph const& graph_;
  std::vector<std::vector<int>> users_;
  std::vector<bool> taken_;
};

struct Pattern {
  std::string_view text;
  std::optional<Rewrite> (Matcher::*match)(Node const&) const;
  bool whole_vocab = false;  ///< only where each rank has all logits of a row
};

// The whole list. Earlier ones take their nodes first.
constexpr std::array<Pattern, 5> patterns{{
    {"linear + gelu | relu -> linear_gelu", &Matcher::linear_gelu},
    {"add + layer_norm -> add_layer_norm", &Matcher::add_layer_norm},
    {"layer_norm_grad + add -> layer_norm_grad with residual", &Matcher::layer_norm_grad},
    {"head_loss_stats + softmax_rescale + loss_sum + head_loss_grad -> head_loss", &Matcher::head_loss, true},
    {"head_loss_stats + softmax_rescale -> head_loss_stats", &Matcher::whole_stats, true},
}};

}  // namespace

Fused fuse(Graph const& source, bool vocab_split, std::function<bool(std::vector<int> const&)> const& allowed) {
  Fused result;
  Matcher matcher(source);
  std::vector<std::optional<Rewrite>> at(source.nodes().size());
  for (auto const& pattern : patterns) {
    auto& row = result.patterns.emplace_back(FusedPattern{std::string(pattern.text), 0});
    if (vocab_split && pattern.whole_vocab) continue;
    for (auto const& node : source.nodes()) {
      auto rewrite = (matcher.*pattern.match)(node);
      if (!rewrite || (allowed && !allowed(rewrite->nodes)) || !matcher.try_take(*rewrite)) continue;
      ++row.times;
      auto const place = static_cast<std::size_t>(rewrite->at);
      at[place] = std::move(rewrite);
    }
  }
  Rebuild rebuild(source);
  for (auto const& node : source.nodes()) {
    if (auto const& r = at[static_cast<std::size_t>(node.id)]) {
      rebuild.add(r->op, r->in, r->out, node);
    } else if (!matcher.is_taken(node.id)) {
      rebuild.add(node.op, node.in, node.out, node);
    }
  }
  result.graph = rebuild.finish();
  return result;
}

}  // namespace lamina::plan
