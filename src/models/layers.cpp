#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "lamina/base/error.hpp"
#include "lamina/base/math.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/ops/cross_entropy.hpp"
#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/mse.hpp"
#include "lamina/models/models.hpp"

namespace lamina::models {
namespace {

// B batch, K features in, N features out

[[noreturn]] void refuse(std::string rule, std::string subject, std::string found, std::string expected,
                         std::string fix) {
  fail({.code = "models.layers." + std::move(rule),
        .subject = std::move(subject),
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = std::move(fix)});
}

/// Builds one network; `x_` is what the layer before has left.
class Network {
 public:
  Network(Builder& b, config::Model const& m) : b_(b), m_(m), names_(layer_names(m)) {}

  void build() {
    auto const batch = b_.request().batch;
    x_ = b_.input("x", {DType::f32, {batch, layers_input(m_)}}, {"batch", "input"});
    bool flat = m_.input.size() <= 1;
    for (std::size_t i = 0; i < m_.network.size(); ++i) {
      auto const& layer = m_.network[i];
      auto const scope = b_.scope(names_[i]);
      bool const by_feature = layer.op == "linear" || layer.op == "layer_norm";
      if (layer.op == "flatten") flat = true;
      if (by_feature && !flat) {
        refuse("flatten", text("layer ", names_[i], " (", layer.op, ")"),
               text("an input of shape [", join(m_.input), "]"), "one row of numbers per sample",
               "put { op = \"flatten\" } before it");
      }
      apply(layer, i);
      if (i + 1 == m_.network.size()) end(batch);
    }
  }

 private:
  TensorSpec spec() const { return b_.graph().value(x_).spec; }

  void apply(config::LayerSpec const& layer, std::size_t i) {
    if (layer.op == "linear") {
      linear(layer, i);
    } else if (layer.op == "relu") {
      x_ = b_.relu(x_);
    } else if (layer.op == "gelu") {
      x_ = b_.gelu(x_);
    } else if (layer.op == "layer_norm") {
      x_ = b_.layer_norm("", b_.cast(x_, DType::f32), feeds_a_product(i) ? b_.request().compute : DType::f32);
    } else if (layer.op == "dropout") {
      x_ = b_.dropout(x_, layer.p);
    } else if (layer.op == "flatten") {
      b_.pass_on(x_);
    } else {
      refuse("op", text("layer ", names_[i]), text("op = \"", layer.op, '"'),
             "linear, relu, gelu, layer_norm, dropout or flatten", "correct model.layers");
    }
  }

  /// The next layer that looks at all features is a product: then what is between may be in its precision.
  bool feeds_a_product(std::size_t i) const {
    for (++i; i < m_.network.size(); ++i) {
      if (m_.network[i].op == "linear") return true;
      if (m_.network[i].op == "layer_norm") return false;
    }
    return false;
  }

  void linear(config::LayerSpec const& layer, std::size_t i) {
    auto const k = spec().shape.back();
    graph::Init const init{.kind = graph::Init::Kind::uniform, .bound = 1 / math::sqrt(static_cast<double>(k))};
    auto const dim = names_[i] + ".out";
    int const x_BK = b_.cast(x_, b_.request().compute);
    std::vector<int> in{x_BK,
                        b_.parameter("weight", {layer.out, k}, {dim, b_.graph().value(x_).dims.back()}, init, true)};
    if (layer.bias) in.push_back(b_.parameter("bias", {layer.out}, {dim}, init, false));
    graph::LinearAttrs const attrs{.bias = layer.bias,
                                   .contract = 1,
                                   .rows_dims = 1,
                                   .dtype = feeds_a_product(i) ? b_.request().compute : DType::f32};
    x_ = b_.apply(std::make_shared<graph::Linear>(attrs), in)[0];
  }

  void end(std::int64_t batch) {
    int const x_BN = b_.cast(x_, DType::f32);
    if (m_.loss == "mse") {
      int const y = b_.input("y", {DType::f32, spec().shape}, {"batch", b_.graph().value(x_).dims.back()});
      int const counted = b_.input("counted", {DType::i32, {batch}}, {"batch"});
      b_.apply(std::make_shared<graph::Mse>(), {x_BN, y, counted}, {b_.loss()});
      return;
    }
    int const y = b_.input("y", {DType::i32, {batch}}, {"batch"});
    b_.apply(std::make_shared<graph::CrossEntropy>(), {x_BN, y}, {b_.loss()});
    if (b_.request().mode != Mode::eval) return;
    int const hits = b_.graph().add_state("accuracy", {DType::f64, {2}}, {""}, Role::output);
    b_.apply(std::make_shared<graph::Accuracy>(), {x_BN, y}, {hits});
  }

  Builder& b_;
  config::Model const& m_;
  std::vector<std::string> names_;
  int x_ = -1;
};

void require_network(config::Model const& m, BuildRequest const& r) {
  if (r.mode == Mode::prefill || r.mode == Mode::decode) {
    refuse("generate", "a model of kind \"layers\"", "a request to generate text", "a model over tokens",
           "generate with a model of kind \"gpt\"; `lamina eval` measures this one");
  }
  bool const learns =
      std::ranges::any_of(m.network, [](auto const& l) { return l.op == "linear" || l.op == "layer_norm"; });
  if (m.input.empty() || !learns) {
    refuse("empty", "a model of kind \"layers\"",
           text(m.input.size(), " input dims, ", m.network.size(), " layers", learns ? "" : ", none with parameters"),
           "model.input, and at least one linear layer", "write layers = [{ op = \"linear\", out = 10 }]");
  }
  if (m.loss != "cross_entropy" && m.loss != "mse") {
    refuse("loss", "model.loss", text('"', m.loss, '"'), "cross_entropy or mse", "correct model.loss");
  }
  if (r.batch < 1 || (r.compute != DType::f32 && r.compute != DType::bf16)) {
    refuse("request", "what is asked of the network", text("batch = ", r.batch, ", compute = ", r.compute),
           "at least one sample, f32 or bf16", "correct the batch and precision sections");
  }
}

}  // namespace

std::vector<std::string> layer_names(config::Model const& model) {
  std::set<std::string> taken;
  for (auto const& layer : model.network) {
    if (layer.name.empty() || taken.insert(layer.name).second) continue;
    refuse("name", text("layer ", layer.name), "two layers of this name", "a name of its own for every layer",
           "rename one of them, or leave the name out");
  }
  std::map<std::string, int> numbers;
  std::vector<std::string> names;
  for (auto const& layer : model.network) {
    auto name = layer.name;
    while (name.empty() || (layer.name.empty() && !taken.insert(name).second))
      name = text(layer.op, ++numbers[layer.op]);
    names.push_back(std::move(name));
  }
  return names;
}

std::int64_t layers_input(config::Model const& model) { return Shape(model.input).count(); }

std::int64_t layers_outputs(config::Model const& model) {
  auto outputs = layers_input(model);
  for (auto const& layer : model.network) {
    if (layer.op == "linear") outputs = layer.out;
  }
  return outputs;
}

void build_layers(Builder& builder, config::Model const& model) {
  require_network(model, builder.request());
  Network(builder, model).build();
}

}  // namespace lamina::models
