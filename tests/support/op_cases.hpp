#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "lamina/graph/grad_builder.hpp"
#include "lamina/graph/graph.hpp"
#include "lamina/graph/ops/activation.hpp"
#include "lamina/graph/ops/attention.hpp"
#include "lamina/graph/ops/cross_entropy.hpp"
#include "lamina/graph/ops/dropout.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/embedding.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/loss.hpp"
#include "lamina/graph/ops/mse.hpp"

/// Every differentiable op alone in a small graph of odd sizes, with its backward. A test of structure looks at the
/// graph; a test of numbers runs its nodes with real kernels and compares gradients with finite differences of the
/// loss. The two ops of this file connect the op under test to parameters and to a loss:
///   test_source: y = x in the dtype of the op, so that an activation input has a gradient;
///   test_sink:   loss[0] (+)= sum(y * r), for a tensor r of arbitrary numbers, so that the upstream gradient is r.
namespace lamina::test {

class Source final : public graph::Op {
 public:
  explicit Source(DType dtype) : dtype_(dtype) {}
  std::string_view kind() const override { return "test_source"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const> in) const override { return {{dtype_, in[0].shape}}; }
  void differentiate(graph::GradBuilder& g) const override { gradient_ = g.grad(0); }
  graph::ShardRule shard_rule() const override { return {"* -> *"}; }
  graph::Cost cost(std::span<TensorSpec const>) const override { return {}; }
  /// Value id of the gradient that reached this source, -1 when none did.
  int gradient() const { return gradient_; }

 private:
  DType dtype_;
  mutable int gradient_ = -1;  // what a test reads off; ops of the library have no state
};

class Sink final : public graph::Op {
 public:
  std::string_view kind() const override { return "test_sink"; }
  std::vector<TensorSpec> infer(std::span<TensorSpec const>) const override { return {{DType::f64, {2}}}; }
  void differentiate(graph::GradBuilder& g) const override { g.contribute(0, g.in(1)); }
  graph::ShardRule shard_rule() const override { return {"*,* -> +."}; }
  graph::Cost cost(std::span<TensorSpec const>) const override { return {}; }
  bool accumulates(int) const override { return true; }
};

struct OpCase {
  enum class Use { parameter, activation, data };
  struct Input {
    std::string name;
    TensorSpec spec;
    Use use = Use::data;
    double low = -1, high = 1;  ///< range of its values; integers include both ends
  };
  std::string name;
  graph::OpPtr op;
  std::vector<Input> in;
  std::vector<int> upstream;  ///< outputs that get an upstream gradient; none: softmax_rescale and loss_sum follow, or
                              ///< it is the loss
  std::vector<int> upstream_in;  ///< inputs that another op uses too, later than this one
};

inline void PrintTo(OpCase const& c, std::ostream* out) { *out << c.name; }

struct CaseGraph {
  graph::Graph graph;
  int loss = -1;
  std::vector<int> leaves;     ///< per input of the op: the graph's input or parameter that holds its values
  std::vector<int> gradients;  ///< per input: value id of its gradient, -1 where it has none
  std::vector<int> upstream;   ///< inputs of the graph to fill with arbitrary numbers
};

/// Forward and backward of one case. A parameter's gradient is its state; another input's is an activation.
inline CaseGraph build_case(OpCase const& c) {
  CaseGraph made;
  auto& g = made.graph;
  auto const dims = [](TensorSpec const& s) { return std::vector<std::string>(s.shape.ndim(), ""); };
  std::vector<int> in;
  std::vector<std::shared_ptr<Source const>> sources(c.in.size());
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    auto const& x = c.in[i];
    if (x.use == OpCase::Use::data) {
      made.leaves.push_back(g.add_input(x.name, x.spec, dims(x.spec)));
      in.push_back(made.leaves.back());
      continue;
    }
    TensorSpec const master{DType::f32, x.spec.shape};
    made.leaves.push_back(g.add_parameter(x.name, master, dims(x.spec), {}, false));
    in.push_back(made.leaves.back());
    if (x.use == OpCase::Use::parameter) continue;
    sources[i] = std::make_shared<Source>(x.spec.dtype);
    in.back() = g.add_node(sources[i], {in.back()}, "source", graph::Phase::forward)[0];
  }
  made.loss = g.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
  bool const is_loss = c.op->accumulates(0);
  auto const out =
      g.add_node(c.op, in, "case", graph::Phase::forward, is_loss ? std::vector{made.loss} : std::vector<int>{});
  auto const sink = [&](int value, std::string const& name) {
    auto const spec = g.value(value).spec;
    made.upstream.push_back(g.add_input("upstream." + name, spec, dims(spec)));
    g.add_node(std::make_shared<Sink>(), {value, made.upstream.back()}, "sink", graph::Phase::forward, {made.loss});
  };
  for (int const o : c.upstream) sink(out[static_cast<std::size_t>(o)], "out" + std::to_string(o));
  for (int const i : c.upstream_in) sink(in[static_cast<std::size_t>(i)], "in" + std::to_string(i));
  if (c.upstream.empty() && !is_loss) {
    int const targets = in.back();
    int const sum = g.add_node(std::make_shared<graph::SoftmaxRescale>(), {out[1], out[0], out[0]}, "sink",
                               graph::Phase::forward)[0];
    g.add_node(std::make_shared<graph::LossSum>(), {out[0], sum, out[2], targets}, "sink", graph::Phase::forward,
               {made.loss});
  }
  graph::differentiate(g, made.loss);
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    made.gradients.push_back(sources[i] ? sources[i]->gradient() : g.gradient_of(made.leaves[i]));
  }
  return made;
}

/// All differentiable ops with `compute` as the dtype of what enters products (f32 for finite differences).
inline std::vector<OpCase> op_cases(DType compute) {
  using Use = OpCase::Use;
  auto const f32 = DType::f32;
  auto const parameter = [&](std::string name, Shape s) { return OpCase::Input{name, {f32, s}, Use::parameter}; };
  auto const wide = [&](std::string name, Shape s) { return OpCase::Input{name, {f32, s}, Use::activation}; };
  auto const narrow = [&](std::string name, Shape s) { return OpCase::Input{name, {compute, s}, Use::activation}; };
  auto const ids = [&](std::string name, Shape s, double low, double high) {
    return OpCase::Input{name, {DType::i32, s}, Use::data, low, high};
  };
  OpCase::Input const rng{"rng", {DType::i64, {3}}, Use::data, 1, 9};
  auto const linear = [](graph::LinearAttrs a) { return std::make_shared<graph::Linear>(a); };
  auto const norm = std::make_shared<graph::LayerNorm>(graph::LayerNorm::Attrs{.eps = 1e-5, .dtype = compute});
  auto const attention = [](graph::AttentionAttrs a) { return std::make_shared<graph::Attention>(a); };
  auto const head = [](bool bias) { return std::make_shared<graph::HeadLossStats>(graph::HeadAttrs{.bias = bias}); };
  using Function = graph::Activation::Function;
  return {
      {"embedding",
       std::make_shared<graph::Embedding>(graph::Embedding::Attrs{}),
       {parameter("table", {11, 7}), ids("ids", {2, 5}, 0, 10)},
       {0},
       {}},
      {"cross_entropy",
       std::make_shared<graph::CrossEntropy>(),
       {wide("x", {5, 7}), ids("targets", {5}, -1, 6)},
       {},
       {}},
      {"cross_entropy_one_class",
       std::make_shared<graph::CrossEntropy>(),
       {wide("x", {2, 3, 1}), ids("targets", {2, 3}, -1, 0)},
       {},
       {}},
      {"mse",
       std::make_shared<graph::Mse>(),
       {wide("x", {5, 7}), OpCase::Input{"y", {f32, {5, 7}}, Use::data}, ids("counted", {5}, -1, 1)},
       {},
       {}},
      {"embedding_positions",
       std::make_shared<graph::Embedding>(graph::Embedding::Attrs{.positions = true}),
       {parameter("table", {3, 7}), ids("ids", {2, 5}, 0, 2), parameter("positions", {6, 7})},
       {0},
       {}},
      {"dropout",
       std::make_shared<graph::Dropout>(graph::Dropout::Attrs{.p = 0.3, .operation = 7}),
       {narrow("x", {3, 5, 7}), rng},
       {0},
       {}},
      {"layer_norm", norm, {wide("x", {3, 5, 7}), parameter("scale", {7}), parameter("shift", {7})}, {0}, {}},
      {"layer_norm_residual",
       norm,
       {wide("x", {17, 33}), parameter("scale", {33}), parameter("shift", {33})},
       {0},
       {0}},
      {"linear",
       linear({.bias = true, .contract = 1, .rows_dims = 2, .dtype = f32}),
       {narrow("x", {2, 5, 7}), parameter("w", {9, 7}), parameter("bias", {9})},
       {0},
       {}},
      {"linear_one_row",
       linear({.bias = true, .contract = 1, .rows_dims = 1, .dtype = compute}),
       {narrow("x", {1, 13}), parameter("w", {1, 13}), parameter("bias", {1})},
       {0},
       {}},
      {"linear_qkv",
       linear({.bias = true, .contract = 1, .rows_dims = 2, .dtype = compute}),
       {narrow("x", {2, 5, 7}), parameter("w", {3, 2, 5, 7}), parameter("bias", {3, 2, 5})},
       {0},
       {}},
      {"linear_heads",
       linear({.bias = false, .contract = 2, .rows_dims = 2, .dtype = f32}),
       {narrow("x", {2, 3, 2, 5}), parameter("w", {7, 2, 5})},
       {0},
       {}},
      {"gelu", std::make_shared<graph::Activation>(Function::gelu), {narrow("z", {3, 37})}, {0}, {}},
      {"relu", std::make_shared<graph::Activation>(Function::relu), {narrow("z", {3, 37})}, {0}, {}},
      {"attention", attention({.causal = true}), {narrow("qkv", {2, 5, 3, 2, 3})}, {0}, {}},
      {"attention_one_token", attention({.causal = true}), {narrow("qkv", {1, 1, 3, 1, 5})}, {0}, {}},
      {"attention_all", attention({.causal = false}), {narrow("qkv", {1, 7, 3, 2, 5})}, {0}, {}},
      {"attention_dropout",
       attention({.causal = true, .p = 0.3, .operation = 9}),
       {narrow("qkv", {2, 5, 3, 2, 3}), rng},
       {0},
       {}},
      {"add", std::make_shared<graph::Add>(), {wide("a", {3, 5}), narrow("b", {3, 5})}, {0}, {}},
      {"cast", std::make_shared<graph::Cast>(compute), {wide("x", {3, 5})}, {0}, {}},
      {"head_loss",
       head(false),
       {narrow("x", {2, 5, 7}), parameter("w", {11, 7}), ids("targets", {2, 5}, -1, 10)},
       {},
       {}},
      {"head_loss_bias",
       head(true),
       {narrow("x", {3, 7}), parameter("w", {5, 7}), parameter("bias", {5}), ids("targets", {3}, -1, 4)},
       {},
       {}},
  };
}

}  // namespace lamina::test
