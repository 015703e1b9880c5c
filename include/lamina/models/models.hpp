#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lamina/config/run_config.hpp"
#include "lamina/models/builder.hpp"

namespace lamina::models {

/// A model kind: builds the forward graph of a request. Pure: equal arguments give equal graphs.
using BuildFunction = std::function<void(Builder&, config::Model const&)>;

struct Registration {
  std::string kind;
  BuildFunction build;
  std::vector<config::CustomKey> keys;
};

/// GPT as in GPT-2 (Radford et al., "Language models are unsupervised multitask learners", 2019): names and global
/// shapes of the parameters are in README "Parameters". The residual stream is f32; what enters products is `compute`.
/// `norm = "post"` normalises after each residual sum (Vaswani et al., "Attention is all you need", 2017): then there is
/// no final norm, and with relu and causal = false the blocks have the parameters of PyTorch's TransformerEncoderLayer.
/// In mode prefill and decode the inputs are tokens, position (i32[1]: tokens in the caches) and last (i32[1]: the
/// token whose logits are wanted), the output is "logits" f32 [batch, vocab].
/// @throws Error "models.gpt.<rule>", all problems at once.
void build_gpt(Builder& builder, config::Model const& model);

/// A feed-forward network as model.layers lists it: linear, relu, gelu (tanh form), layer_norm, dropout, flatten. Its
/// inputs are `x` f32 [batch, features], and `y`: i32 [batch] classes, negative = ignored, for cross_entropy; f32
/// [batch, outputs] for mse, with `counted` i32 [batch], negative = ignored. An input of several dims comes as one row
/// per sample: `flatten` says so where the list begins, and moves nothing. Every layer is a path of its own; a layer
/// without a name is called after its op, "relu1". Parameters "<name>.weight" [out, in] and "<name>.bias" [out],
/// initial values uniform in +-1/sqrt(in) (as PyTorch's nn.Linear; He et al., 2015, with a = sqrt(5)). Dims are named
/// "<name>.out" after the linear layer that makes them, "input" at the start. The loss belongs to the last layer's
/// path; in mode eval of a classifier there is an output `accuracy` f64 [2] = {hits, counted}.
/// @throws Error "models.layers.<rule>".
void build_layers(Builder& builder, config::Model const& model);

/// Path of every layer of such a network, in order: given names, and "<op><n>" for those without one.
std::vector<std::string> layer_names(config::Model const& model);
/// Numbers of a sample's input and of its output.
std::int64_t layers_input(config::Model const& model);
std::int64_t layers_outputs(config::Model const& model);

/// Forward graph, differentiated in mode train (no optimizer nodes).
/// @throws Error "models.kind.unknown"; "models.gpt.*" for sizes that do not fit together; "models.build.loss" and
/// "models.build.logits" for a builder that left out what the mode needs; "models.build.initial" when two parameters
/// would get the same random numbers.
graph::Graph build(config::Model const& model, BuildRequest const& request,
                   std::vector<Registration> const& registered = {});

/// Initial elements [first, first + count) of a parameter: function of (seed, name, index) only, the same bits on every
/// machine. Normal and uniform values: Philox with key = seed, step 0, operation = hash of the name; normal ones by
/// Box and Muller (base/math.hpp).
void fill_initial(graph::Value const& parameter, std::int64_t seed, std::int64_t first, std::int64_t count, float* out);

}  // namespace lamina::models
