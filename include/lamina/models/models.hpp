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

/// GPT as in GPT-2 (Radford et al., 2019): see interface names in README "Parameters".
void build_gpt(Builder& builder, config::Model const& model);

/// Forward graph, differentiated in mode train (no optimizer nodes).
/// @throws Error "models.kind.unknown"; "models.gpt.*" for sizes that do not fit together.
graph::Graph build(config::Model const& model, BuildRequest const& request,
                   std::vector<Registration> const& registered = {});

/// Initial elements [first, first + count) of a parameter: function of (seed, name, index) only.
void fill_initial(graph::Value const& parameter, std::int64_t seed, std::int64_t first, std::int64_t count, float* out);

}  // namespace lamina::models
