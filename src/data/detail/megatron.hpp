#pragma once

#include <memory>
#include <string>

#include "lamina/data/token_file.hpp"

namespace lamina::data::detail {

/// True when the file begins with the magic bytes of a Megatron index.
bool is_megatron_index(std::string const& path);

/// Megatron's indexed dataset: `index` is checked whole (streaming, so that a hostile count allocates nothing): sizes,
/// lengths, offsets as prefix sums, document boundaries.
std::unique_ptr<TokenFile> open_megatron(std::string const& index, std::string const& tokens);

}  // namespace lamina::data::detail
