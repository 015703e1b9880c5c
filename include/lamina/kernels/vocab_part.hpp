#pragma once

#include <algorithm>
#include <cstdint>

namespace lamina::kernels {

/// The rows of a vocabulary's table that a rank holds when the vocabulary is cut over ranks (Shoeybi et al.,
/// "Megatron-LM", 2019): row r is word `first` + r. The vocabulary need not divide: rows that would be words from
/// `vocab` on are padding, never looked up, in no maximum and no sum, and their gradient is 0.
struct VocabPart {
  std::int64_t first = 0;
  std::int64_t vocab = 0;  ///< words of the whole vocabulary; 0: the table is whole

  /// Words of the whole vocabulary, given the rows of the table.
  std::int64_t words(std::int64_t rows) const { return vocab == 0 ? rows : vocab; }
  /// Rows of the table that are words.
  std::int64_t valid(std::int64_t rows) const { return std::clamp<std::int64_t>(words(rows) - first, 0, rows); }
};

}  // namespace lamina::kernels
