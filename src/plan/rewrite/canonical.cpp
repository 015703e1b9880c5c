// run.determinism = "canonical": a graph whose results are the same bits on every mesh.
#include "plan/detail/canonical.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <string_view>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "plan/detail/plan.hpp"
#include "plan/detail/rebuild.hpp"

namespace lamina::plan {
namespace {

using graph::ExactSums;
using graph::Node;

constexpr int digits = 52;  // of a sum beside its sign: half of what f64 holds, so that one more addition is exact

struct Row {
  std::string_view kind;
  ExactSums CanonicalSums::*sums;
  unsigned outputs;  ///< bit mask of those that become f64
};

// All ops that sum over something that a mesh axis, micro-batches or tied uses may cut. The others work on one token,
// sample, head or element at a time, or, like the lookup of an embedding, add zeros only.
constexpr std::array<Row, 10> table{{
    {"linear", &CanonicalSums::activation, 1},
    {"linear_grad_input", &CanonicalSums::gradient, 1},
    {"linear_grad_weight", &CanonicalSums::parameter_gradient, 3},
    {"embedding_grad", &CanonicalSums::parameter_gradient, 3},
    {"layer_norm_grad", &CanonicalSums::parameter_gradient, 6},
    {"head_loss_stats", &CanonicalSums::activation, 0},
    {"head_loss_grad", &CanonicalSums::parameter_gradient, 7},
    {"loss_sum", &CanonicalSums::loss, 0},
    {"cross_entropy", &CanonicalSums::loss, 0},
    {"mse", &CanonicalSums::loss, 0},
}};

Row const* find_row(std::string_view kind) {
  auto const row = std::find_if(table.begin(), table.end(), [&](Row const& r) { return r.kind == kind; });
  return row == table.end() ? nullptr : &*row;
}

/// The softmax_rescale of a head's statistics becomes the sum of its exponentials.
graph::OpPtr exponentials(graph::Graph const& graph, Node const& n, CanonicalSums const& sums) {
  int const producer = n.op->kind() == "softmax_rescale" ? graph.value(n.in[0]).producer : -1;
  if (producer < 0) return nullptr;
  auto const* stats = dynamic_cast<graph::HeadLossStats const*>(graph.node(producer).op.get());
  if (stats == nullptr) return nullptr;
  return std::make_shared<graph::HeadLossSum>(
      graph::HeadLossSum::Attrs{.bias = stats->attrs().bias, .sums = sums.exponentials, .logits = sums.activation});
}

int bits_for(std::int64_t n) {
  return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(n, 1) - 1)));
}

}  // namespace

CanonicalSums canonical_sums(CanonicalSizes const& s) {
  auto const sums = [](int fraction, std::int64_t terms) {
    return ExactSums{fraction, std::ldexp(1.0, digits - fraction - bits_for(terms))};
  };
  int const tokens = bits_for(s.targets);
  return {
      .activation = sums(36, s.terms_of_activation),
      .gradient = sums(40, s.terms_of_activation),
      // Gradients are those of the sum over tokens; 8 is a large one of a token.
      .parameter_gradient = sums(std::min(40, digits - 3 - tokens), s.terms_of_gradient),
      .exponentials = sums(std::min(40, digits - 1 - bits_for(s.vocab)), 1),  // at most one per word
      .loss = sums(std::min(30, digits - 16 - tokens), s.terms_of_gradient),  // and of an evaluation
  };
}

namespace {

CanonicalSizes sizes_of(Plan const& plan, graph::Graph const& graph) {
  CanonicalSizes sizes;
  for (auto const& v : graph.values()) {  // inputs of integers are tokens and targets
    bool const batch = v.role == Role::input && !v.dims.empty() && v.dims.front() == "batch";
    if (!batch || v.spec.dtype != DType::i32 || v.spec.shape[0] == 0) continue;
    sizes.targets = std::max(sizes.targets, plan.config.batch.global * (v.spec.count() / v.spec.shape[0]));
  }
  for (auto const& n : graph.nodes()) {
    if (n.op->kind() == "head_loss_stats") sizes.vocab = std::max(sizes.vocab, graph.value(n.in[1]).spec.shape[0]);
  }
  sizes.terms_of_activation = plan.mesh.size("tp");
  sizes.terms_of_gradient = plan.mesh.size("tp") * plan.mesh.size("dp") * plan.mesh.size("pp");
  if (plan.zero >= 2) {  // the parts of every micro-batch are added
    sizes.terms_of_gradient *= *std::max_element(plan.micro_batches.begin(), plan.micro_batches.end());
  }
  return sizes;
}

// What the square norm of all gradients has room for: kernels/exact.hpp.
constexpr std::int64_t most_ranks = 256, most_parameters = std::int64_t{1} << 29;

void require_room(Plan const& plan, graph::Graph const& graph) {
  auto const refuse = [](std::string_view rule, std::int64_t found, std::int64_t most) {
    fail({.code = text("plan.canonical.", rule),
          .subject = "run.determinism = \"canonical\"",
          .found = text(found, " ", rule),
          .expected = text("at most ", most, ": its sums are exact in the 53 bits of an f64"),
          .fix = "prove a smaller model or mesh, or use run.determinism = \"layout\""});
  };
  std::int64_t parameters = 0;
  for (int const p : graph.parameters()) parameters += graph.value(p).spec.count();
  if (plan.mesh.world() > most_ranks) refuse("ranks", plan.mesh.world(), most_ranks);
  if (parameters > most_parameters) refuse("parameters", parameters, most_parameters);
}

}  // namespace

graph::Graph canonical(Plan const& plan, graph::Graph const& graph) {
  require_room(plan, graph);
  return canonical(graph, canonical_sums(sizes_of(plan, graph)));
}

graph::Graph canonical(graph::Graph const& source, CanonicalSums const& sums) {
  Rebuild rebuild(source, DType::f64);
  for (auto const& n : source.nodes()) {
    auto op = exponentials(source, n, sums);
    auto in = n.in;
    if (op != nullptr) {
      auto const& stats = source.node(source.value(n.in[0]).producer);
      in.assign(stats.in.begin(), stats.in.end() - 1);  // without the targets
      in.push_back(n.in[2]);
    } else if (auto const* row = find_row(n.op->kind())) {
      bool const head = row->kind.starts_with("head_");
      op = std::make_shared<graph::Exact>(n.op, sums.*(row->sums), row->outputs, head ? sums.activation : ExactSums{});
    } else {
      op = n.op;
    }
    auto const made = rebuild.put(op, rebuild.of(in), n.out, n);
    for (std::size_t o = 0; o < n.out.size(); ++o) {
      auto const& v = source.value(n.out[o]);
      bool const narrows = v.accumulates_into < 0 && rebuild.so_far().value(made[o]).spec.dtype != v.spec.dtype;
      rebuild.stand_in(
          v.id, narrows ? rebuild.put(std::make_shared<graph::Cast>(v.spec.dtype), {made[o]}, {}, n)[0] : made[o]);
    }
  }
  return rebuild.finish();
}

}  // namespace lamina::plan
