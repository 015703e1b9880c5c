#pragma once

#include <string>
#include <vector>

#include "config/detail/document.hpp"
#include "lamina/config/run_config.hpp"

namespace lamina::config::detail {

/// Reads one table of model.layers: { op, name, out, bias, p }. `where`: "model.layers[2]".
/// @return all that is wrong with it, "config.model.layer" without its place.
std::vector<ErrorInfo> read_layer(Value const& value, std::string const& where, LayerSpec& layer);

}  // namespace lamina::config::detail
