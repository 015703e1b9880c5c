#include "lamina/models/builder.hpp"

#include <memory>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/ops/activation.hpp"
#include "lamina/graph/ops/attention.hpp"
#include "lamina/graph/ops/dropout.hpp"
#include "lamina/graph/ops/elementwise.hpp"
#include "lamina/graph/ops/layer_norm.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/loss.hpp"

namespace lamina::models {
namespace {

bool generates(Mode mode) { return mode == Mode::prefill || mode == Mode::decode; }

/// "norm" and "weight" -> "norm.weight"; a name "" is the scope's.
std::string tensor_of(std::string_view name, std::string_view tensor) {
  return name.empty() ? std::string(tensor) : text(name, '.', tensor);
}

void require_same(std::string_view code, graph::Value const& old, TensorSpec const& spec) {
  if (old.spec == spec) return;
  fail({.code = std::string(code),
        .subject = text(old.name, " is asked for twice"),
        .found = text(old.spec, ", then ", spec),
        .expected = "one dtype and shape per name",
        .fix = "give the second one another name or scope, or the size of the first"});
}

}  // namespace

Builder::Scope::~Scope() { builder_.path_.resize(length_); }

Builder::Scope Builder::scope(std::string_view name) {
  auto const length = path_.size();
  path_ = full(name);
  return {*this, length};
}

std::string Builder::full(std::string_view name) const {
  return path_.empty() ? std::string(name) : text(path_, '.', name);
}

int Builder::parameter(std::string_view name, Shape shape, std::vector<std::string> dims, graph::Init init,
                       bool decay) {
  TensorSpec const spec{DType::f32, shape};
  int const found = graph_.find(full(name), Role::parameter);
  if (found < 0) return graph_.add_parameter(full(name), spec, std::move(dims), init, decay);
  require_same("models.builder.parameter", graph_.value(found), spec);
  return found;
}

int Builder::input(std::string_view name, TensorSpec spec, std::vector<std::string> dims) {
  int const found = graph_.find(name, Role::input);
  if (found < 0) return graph_.add_input(std::string(name), spec, std::move(dims));
  require_same("models.builder.input", graph_.value(found), spec);
  return found;
}

std::vector<int> Builder::apply(graph::OpPtr op, std::vector<int> in, std::vector<int> const& targets) {
  return graph_.add_node(std::move(op), std::move(in), path_, graph::Phase::forward, targets);
}

int Builder::state(std::string_view name, TensorSpec spec, std::vector<std::string> dims, Role role) {
  return graph_.add_state(full(name), spec, std::move(dims), role);
}

int Builder::tokens() { return input("tokens", {DType::i32, {request_.batch, request_.tokens}}, {"batch", "tokens"}); }
int Builder::targets() {
  return input("targets", {DType::i32, {request_.batch, request_.tokens}}, {"batch", "tokens"});
}
int Builder::rng() { return input("rng", {DType::i64, {3}}, {""}); }
int Builder::position() { return input("position", {DType::i32, {1}}, {""}); }
int Builder::last() { return input("last", {DType::i32, {1}}, {""}); }

int Builder::layer_norm(std::string_view name, int x, DType out) {
  auto const v = graph_.value(x);
  std::vector<std::string> const dims{v.dims.empty() ? "" : v.dims.back()};
  Shape const shape{v.spec.shape.ndim() == 0 ? 1 : v.spec.shape.back()};
  int const scale = parameter(tensor_of(name, "weight"), shape, dims, {.kind = graph::Init::Kind::ones}, false);
  int const shift = parameter(tensor_of(name, "bias"), shape, dims, {.kind = graph::Init::Kind::zeros}, false);
  return apply(std::make_shared<graph::LayerNorm>(graph::LayerNorm::Attrs{.dtype = out}), {x, scale, shift})[0];
}

int Builder::linear(std::string_view name, int x, std::vector<std::int64_t> out,
                    std::vector<std::string> const& out_dims, int contract, bool bias, graph::Init init, DType dtype) {
  auto const v = graph_.value(x);
  int const rows = v.spec.shape.ndim() - contract;
  if (rows < 1 || contract < 1 || out.empty()) {
    fail({.code = "models.builder.linear",
          .subject = full(name),
          .found = text("x ", v.spec, ", ", contract, " contracted and ", out.size(), " output dims"),
          .expected = "at least one row dim, one contracted and one output dim",
          .fix = "correct the arguments of linear"});
  }
  Shape const n(out);
  auto w = n;
  auto dims = out_dims;
  for (int d = rows; d < rows + contract; ++d) {
    w.push_back(v.spec.shape[d]), dims.push_back(v.dims[static_cast<std::size_t>(d)]);
  }
  std::vector<int> in{x, parameter(tensor_of(name, "weight"), w, dims, init, true)};
  if (bias) in.push_back(parameter(tensor_of(name, "bias"), n, out_dims, {.kind = graph::Init::Kind::zeros}, false));
  graph::LinearAttrs const attrs{.bias = bias, .contract = contract, .rows_dims = rows, .dtype = dtype};
  return apply(std::make_shared<graph::Linear>(attrs), in)[0];
}

/// An id for what draws random numbers: the hash of "<path>.<op>", numbered from the second on.
std::uint32_t Builder::make_operation(std::string_view op) {
  auto const name = full(op);
  int const n = ++operations_[name];
  return graph::operation_id(n == 1 ? name : text(name, '_', n));
}

int Builder::pass_on(int x) {
  graph_.add_layer(path_, true);
  return x;
}

int Builder::dropout(int x, double p) {
  if (p == 0) return pass_on(x);
  graph_.add_layer(path_);
  if (request_.mode != Mode::train) return x;
  graph::Dropout::Attrs const attrs{.p = p, .operation = make_operation("dropout")};
  return apply(std::make_shared<graph::Dropout>(attrs), {x, rng()})[0];
}

int Builder::attention(int qkv, bool causal, double p) {
  if (!generates(request_.mode)) {
    graph::AttentionAttrs attrs{.causal = causal, .p = request_.mode == Mode::train ? p : 0};
    std::vector<int> in{qkv};
    if (attrs.p > 0) attrs.operation = make_operation("attention"), in.push_back(rng());
    return apply(std::make_shared<graph::Attention>(attrs), in)[0];
  }
  auto const spec = graph_.value(qkv).spec;
  TensorSpec cache{spec.dtype, {request_.batch, 0, request_.context, 0}};
  if (spec.shape.ndim() == 5) cache.shape[1] = spec.shape[3], cache.shape[3] = spec.shape[4];  // else infer complains
  std::vector<std::string> const dims{"batch", "heads", "context", "head_size"};
  int const k = state("cache_k", cache, dims, Role::cache), v = state("cache_v", cache, dims, Role::cache);
  return apply(std::make_shared<graph::AttentionCached>(), {qkv, k, v, position()})[0];
}

int Builder::gelu(int z) {
  return apply(std::make_shared<graph::Activation>(graph::Activation::Function::gelu), {z})[0];
}
int Builder::relu(int z) {
  return apply(std::make_shared<graph::Activation>(graph::Activation::Function::relu), {z})[0];
}
int Builder::cast(int x, DType dtype) {
  return graph_.value(x).spec.dtype == dtype ? x : apply(std::make_shared<graph::Cast>(dtype), {x})[0];
}
int Builder::add(int a, int b) { return apply(std::make_shared<graph::Add>(), {a, b})[0]; }

int Builder::loss() {
  int const found = graph_.find("loss", Role::output);
  return found >= 0 ? found : graph_.add_state("loss", {DType::f64, {2}}, {""}, Role::output);
}

void Builder::head(int x, int weight, int bias) {
  std::vector<int> in{x, weight};
  if (bias >= 0) in.push_back(bias);
  if (generates(request_.mode)) {
    graph::LinearAttrs const attrs{.bias = bias >= 0, .contract = 1, .rows_dims = 1, .dtype = DType::f32};
    output(apply(std::make_shared<graph::Linear>(attrs), in)[0], "logits");
    return;
  }
  in.push_back(targets());
  auto const stats = apply(std::make_shared<graph::HeadLossStats>(graph::HeadAttrs{.bias = bias >= 0}), in);
  int const sum = apply(std::make_shared<graph::SoftmaxRescale>(), {stats[1], stats[0], stats[0]})[0];
  apply(std::make_shared<graph::LossSum>(), {stats[0], sum, stats[2], targets()}, {loss()});
}

}  // namespace lamina::models
