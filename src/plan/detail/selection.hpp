#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lamina/base/error.hpp"

/// Layers by path, as rules of the run file name them.
namespace lamina::plan {

/// "embed" selects the layer and what is below it; a component may be a range of numbers or '*': "blocks.0-5",
/// "blocks.*.attn", "*".
bool selects(std::string_view selector, std::string_view path);

/// Indices into `paths` of what any of the selectors selects, in the order of `paths`. A selector that selects nothing
/// is a problem, with the nearest path; code "plan.layers.unknown".
/// @param key  what the user wrote them in: "memory.recompute_layers".
std::vector<int> select(std::vector<std::string> const& selectors, std::vector<std::string> const& paths,
                        std::string_view key, std::vector<ErrorInfo>& problems);

/// "blocks.3" of "blocks.3.attn": the path up to its first number; the whole path when there is none. What
/// recomputation and stages take as one block.
std::string block_of(std::string_view path);
bool is_block(std::string_view path);  ///< there is a number in it

}  // namespace lamina::plan
