#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lamina::data::detail {

/// Merges of byte-level BPE (Sennrich et al., 2016; byte alphabet of GPT-2, Radford et al., 2019).
class Bpe {
 public:
  /// Tokens of one pre-token, given as raw bytes. Lowest rank first, leftmost of equals.
  void encode(std::string_view word, std::vector<std::int32_t>& out) const;

  std::vector<std::int32_t> byte_token = std::vector<std::int32_t>(256, -1);  ///< id of each single byte
  /// (left id, right id) -> (rank, id of the merged token)
  std::unordered_map<std::uint64_t, std::pair<std::int32_t, std::int32_t>> merges;
  /// whole words that are tokens, when `ignore_merges` asks for them
  std::unordered_map<std::string, std::int32_t> words;

  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
};

/// GPT-2's printable alphabet: the bytes of a token's text in a vocabulary file. Returns false for a character outside
/// it.
bool bytes_from_printable(std::string_view text, std::string& bytes);

/// Text with every broken UTF-8 sequence replaced by U+FFFD, as Python's errors="replace" does.
std::string valid_utf8(std::string_view text);

}  // namespace lamina::data::detail
