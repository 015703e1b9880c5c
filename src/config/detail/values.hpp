#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/detail/document.hpp"
#include "config/detail/keys.hpp"

namespace lamina::config::detail {

/// Checks a value against its key (type, unit, range, choices, availability) and stores it.
/// @param kinds  beside the choices of model.kind: the registered ones.
/// @return all problems, without their place; several for a list of tables.
std::vector<ErrorInfo> store(Key const& key, Value const& value, RunConfig& config,
                             std::vector<std::string> const& kinds);

/// The same for a key of a registered model.
std::optional<ErrorInfo> store_custom(CustomKey const& key, Value const& value, Attributes& custom);

}  // namespace lamina::config::detail
