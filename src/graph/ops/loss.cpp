#include "lamina/graph/ops/loss.hpp"

#include <algorithm>
#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/grad_builder.hpp"
#include "lamina/tensor/packed.hpp"

namespace lamina::graph {

using detail::Inputs;

// B batch, T tokens, D model, V vocabulary, R rows
namespace {

TensorSpec loss_spec() { return {DType::f64, {2}}; }

int targets_index(HeadAttrs const& a) { return a.bias ? 3 : 2; }

/// Checks x, w, [bias], targets, which come first in all three head ops.
void require_head(Inputs const& in, HeadAttrs const& a) {
  in.dtype(0, detail::real_types).ndim_at_least(0, 2);
  in.dtype(1, detail::real_types).ndim(1, 2).extent(1, 1, in[0].shape.back(), "the last dim of x");
  if (a.bias) in.dtype(2, {DType::f32}).shape(2, {in[1].shape[0]}, "the vocabulary of w");
  int const t = targets_index(a);
  in.dtype(t, {DType::i32}).shape(t, detail::without_last(in[0].shape), "one target per row of x");
}

Attributes grad_attributes(HeadAttrs const& a) {
  Attributes all{{"bias", std::int64_t{a.bias}}, {"dtype", std::string(name_of(a.dtype))}};
  if (a.split) all.set("split", std::int64_t{1});
  return all;
}

/// Outputs dx, dw, [dbias], or dx, dlogits.
std::vector<TensorSpec> gradients(HeadAttrs const& a, std::span<TensorSpec const> in) {
  if (a.split) {
    auto logits = detail::without_last(in[0].shape);
    logits.push_back(in[1].shape[0]);
    return {{a.dtype, in[0].shape}, {in[0].dtype, logits}};
  }
  std::vector<TensorSpec> out{{a.dtype, in[0].shape}, {DType::f32, in[1].shape}};
  if (a.bias) out.push_back(in[2]);
  return out;
}

/// One product of all rows with the head.
std::int64_t product_flops(std::span<TensorSpec const> in) {
  return 2 * detail::without_last(in[0].shape).count() * in[1].count();
}

/// What src/kernels/head.cpp takes: the statistics of all rows; for a chunk of rows the logits (of the whole
/// vocabulary, or of a block when they are recomputed) and, with a gradient, its block and f32 sums of dx.
std::int64_t head_scratch(std::span<TensorSpec const> in, int threads, bool all_logits, bool gradient) {
  auto const up16 = [](std::int64_t n) { return (n + 15) / 16 * 16; };
  auto const rows = detail::without_last(in[0].shape).count(), vocab = in[1].shape[0];
  auto const most = std::max<std::int64_t>(256, (std::int64_t{1} << 26) / std::max<std::int64_t>(vocab, 1));
  auto const chunks = std::max<std::int64_t>(1, (rows + most - 1) / most);
  auto const chunk = (rows + chunks - 1) / chunks;  // the kernel takes equal ones
  std::int64_t const block = 1024;
  bool const bf16 = in[0].dtype == DType::bf16;
  auto const words = (all_logits ? vocab : block) + (gradient ? block + (bf16 ? in[1].shape[1] : 0) : 0);
  auto const bytes = detail::library_bytes(threads) + 4 * up16(chunk) * words + 16 * up16(rows) + (132 << 10);
  return bf16 && in[1].dtype == DType::f32 ? bytes + packed_weight_bytes(vocab, in[1].shape[1], DType::bf16) : bytes;
}

std::string_view head_terms(HeadAttrs const& a) { return a.bias ? "*d!,vd,v,*" : "*d!,vd,*"; }

/// The softmax_rescale that reads the statistics of this head, or -1.
int find_rescaled(Graph const& graph, Node const& stats) {
  std::vector<int> const in{stats.out[1], stats.out[0], stats.out[0]};
  for (std::size_t n = static_cast<std::size_t>(stats.id) + 1; n < graph.nodes().size(); ++n) {
    auto const& node = graph.nodes()[n];
    if (node.in == in && node.op->kind() == "softmax_rescale") return node.out[0];
  }
  return -1;
}

}  // namespace

std::vector<TensorSpec> HeadLossStats::infer(std::span<TensorSpec const> in) const {
  require_head(Inputs(kind(), in, {"x", "w", attrs_.bias ? "bias" : "", "targets"}), attrs_);
  TensorSpec const row{DType::f32, detail::without_last(in[0].shape)};
  return {row, row, row};
}

void HeadLossStats::differentiate(GradBuilder& g) const {
  if (g.grad(0) >= 0 || g.grad(1) >= 0 || g.grad(2) >= 0) {
    fail({.code = "graph.head_loss_stats.gradient",
          .subject = text(g.node().layer, ": head_loss_stats"),
          .found = "statistics used by something other than softmax_rescale and loss_sum",
          .expected = "these two, which together with head_loss_stats have the gradient head_loss_grad",
          .fix = "use the statistics for the loss only, or compute logits with a linear layer"});
  }
  std::vector<int> in{g.in(0), g.in(1)};
  if (attrs_.bias) in.push_back(g.in(2));
  in.insert(in.end(), {g.in(targets_index(attrs_)), g.out(0), find_rescaled(g.graph(), g.node())});
  std::vector<int> targets{-1, g.target(1)};
  if (attrs_.bias) targets.push_back(g.target(2));
  HeadAttrs const attrs{.bias = attrs_.bias, .dtype = g.in_spec(0).dtype};
  g.contribute(0, g.apply(std::make_shared<HeadLossGrad>(attrs), in, targets)[0]);
}

ShardRule HeadLossStats::shard_rule() const { return {text(head_terms(attrs_), " -> ^*,*,*")}; }

Cost HeadLossStats::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, product_flops(in)); }

std::int64_t HeadLossStats::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  return head_scratch(in, threads, false, false);
}

std::vector<TensorSpec> SoftmaxRescale::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"sum", "own max", "max"});
  x.dtype(0, {DType::f32});
  for (int const i : {1, 2}) x.dtype(i, {DType::f32}).shape(i, in[0].shape, "the shape of sum");
  return {in[0]};
}

void SoftmaxRescale::differentiate(GradBuilder& g) const {
  if (g.grad(0) >= 0) Op::differentiate(g);  // refuses
}

Cost SoftmaxRescale::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

std::vector<TensorSpec> LossSum::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"max", "sum", "target", "targets"});
  for (int const i : {0, 1, 2}) x.dtype(i, {DType::f32}).shape(i, in[3].shape, "the shape of targets");
  x.dtype(3, {DType::i32});
  return {loss_spec()};
}

void LossSum::differentiate(GradBuilder& g) const {
  auto const& graph = g.graph();
  int const producer = graph.value(g.in(0)).producer;
  bool const ours = producer >= 0 && graph.node(producer).op->kind() == "head_loss_stats" &&
                    graph.node(producer).out[0] == g.in(0) && graph.node(producer).out[2] == g.in(2) &&
                    graph.node(producer).in.back() == g.in(3) && find_rescaled(graph, graph.node(producer)) == g.in(1);
  if (!ours) {
    fail({.code = "graph.loss_sum.gradient",
          .subject = text(g.node().layer, ": loss_sum"),
          .found = text("statistics from ", graph.value(g.in(0)).name),
          .expected = "max and target of one head_loss_stats, its sum after softmax_rescale, and its targets",
          .fix = "pass them on unchanged"});
  }
  g.imply(0);
}

Cost LossSum::cost(std::span<TensorSpec const> in) const { return detail::cost_of(*this, in, 0); }

Attributes HeadLossGrad::attributes() const { return grad_attributes(attrs_); }

std::vector<TensorSpec> HeadLossGrad::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"x", "w", attrs_.bias ? "bias" : "", "targets", "max", "sum"});
  require_head(x, attrs_);
  int const t = targets_index(attrs_);
  for (int const i : {t + 1, t + 2})
    x.dtype(i, {DType::f32}).shape(i, in[static_cast<std::size_t>(t)].shape, "the shape of targets");
  return gradients(attrs_, in);
}

ShardRule HeadLossGrad::shard_rule() const {
  return {text(head_terms(attrs_), ",*,* -> +*d,", attrs_.split ? "*v" : attrs_.bias ? "+vd,+v" : "+vd")};
}

Cost HeadLossGrad::cost(std::span<TensorSpec const> in) const {
  return detail::cost_of(*this, in, (attrs_.split ? 1 : 2) * product_flops(in));
}

std::int64_t HeadLossGrad::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  return head_scratch(in, threads, false, true);
}

Attributes HeadLoss::attributes() const { return grad_attributes(attrs_); }

std::vector<TensorSpec> HeadLoss::infer(std::span<TensorSpec const> in) const {
  require_head(Inputs(kind(), in, {"x", "w", attrs_.bias ? "bias" : "", "targets"}), attrs_);
  auto out = gradients(attrs_, in);
  out.insert(out.begin(), loss_spec());
  return out;
}

ShardRule HeadLoss::shard_rule() const {  // the statistics of a part of the vocabulary are of no use
  return {text(attrs_.bias ? "*d!,v!d,v,* -> +.,*d," : "*d!,v!d,* -> +.,*d,", attrs_.split  ? "*v"
                                                                              : attrs_.bias ? "+vd,+v"
                                                                                            : "+vd")};
}

Cost HeadLoss::cost(std::span<TensorSpec const> in) const {
  return detail::cost_of(*this, in, (attrs_.split ? 2 : 3) * product_flops(in));
}

std::int64_t HeadLoss::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  return head_scratch(in, threads, true, true);
}

}  // namespace lamina::graph
