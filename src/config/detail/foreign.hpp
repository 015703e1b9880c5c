#pragma once

#include <span>
#include <string>
#include <string_view>

namespace lamina::config::detail {

/// What another system's word is called here.
struct Foreign {
  std::string_view words;   ///< lower case, '_' for '-', separated by blanks
  std::string_view key;     ///< "section.key"; "" when there is nothing to set
  std::string_view advice;  ///< what differs
};

std::span<Foreign const> all_foreign();

/// Looks for a key, or for a section with its key, among the words of nanoGPT, Hugging Face Transformers, DeepSpeed,
/// Megatron-LM, torchtitan, PyTorch Lightning and Keras; case and '-' or '_' do not matter. Null when it is unknown.
Foreign const* find_foreign(std::string_view section, std::string_view name);

/// "batch.micro: samples per micro-batch", or the advice alone.
std::string explain(Foreign const& foreign);

}  // namespace lamina::config::detail
