#pragma once

#include <cstdint>
#include <vector>

#include "lamina/base/hash.hpp"
#include "lamina/io/layout.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::io {

class File;

/// A checksum of a tensor that any layout can compute from what it holds.
///
/// Each row (last dim) is cut into cells of 64 elements, the last one shorter. Cells are numbered row-major:
/// row * ceil(last / 64) + cell. The checksum is the sum modulo 2^128, over all cells, of XXH3-128 (seed 0) of the
/// cell's number as 8 little-endian bytes followed by the cell's bytes. A sum has no order, so every part of a tensor
/// contributes what it can and the parts are added. The checksum of an empty tensor is 0.
///
/// A cell belongs to whoever holds its first element. One that a box cuts apart is kept aside, and hashed by
/// `add_cut_cells` from the file, when all parts of it are there.
class PartialChecksum {
 public:
  static constexpr std::int64_t cell_elements = 64;

  explicit PartialChecksum(TensorSpec global);

  /// Hashes the cells that lie whole in a run; `data` is the run's first element.
  void add(Run const& run, void const* data);
  /// Reads the cut cells that belong here and hashes them; `offset` is the tensor's first byte in the file.
  void add_cut_cells(File const& file, std::int64_t offset);

  Hash128 sum() const { return sum_; }
  std::int64_t cells() const { return cells_; }  ///< hashed so far
  std::int64_t total_cells() const;              ///< of the whole tensor

 private:
  void hash_cell(std::int64_t cell, void const* data, std::int64_t elements);
  std::int64_t row_, cells_per_row_, rows_, element_bytes_;
  std::vector<Run> cut_;  ///< cells, as runs of the global tensor; local is the cell's number
  Hash128 sum_;
  std::int64_t cells_ = 0;
};

/// Of a whole tensor in memory.
Hash128 checksum(TensorRef t);

}  // namespace lamina::io
