#pragma once

// Copies of operands in the order in which the micro-kernel reads them. Words: see micro_kernel.hpp.
#include <cstdint>

#include "lamina/tensor/dtype.hpp"

namespace lamina::kernels::detail {

/// An operand as it lies in memory: element (line, k), `line` being a row of A or a column of B, k the contraction.
struct Source {
  void const* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t ld = 0;
  bool k_contiguous = false;  ///< element at line * ld + k, otherwise at k * ld + line
};

/// A piece of it: lines [line, line + lines), elements [k, k + depth) of the contraction, k even.
struct Piece {
  std::int64_t line = 0, lines = 0, k = 0, depth = 0;
};

/// Elements in one word: 2 where pairs of bf16 are multiplied, else 1 (and bf16 becomes f32).
int word_elements(DType t);
inline std::int64_t words_of(std::int64_t elements, DType t) {
  return (elements + word_elements(t) - 1) / word_elements(t);
}

/// out[panel][word][line in panel], `panel` columns of B per panel and `stride` words from panel to panel. Missing
/// lines of the last panel and a missing half word are zero.
void pack_columns(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride);

/// The same for rows of A, `block_rows` to a panel, when lines are contiguous (not k).
void pack_rows(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride);

/// out[line][word] with `stride` words from line to line, when k is contiguous.
void copy_rows(Source const& s, Piece const& at, std::uint32_t* out, std::int64_t stride);

}  // namespace lamina::kernels::detail
