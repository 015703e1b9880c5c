#include "lamina/io/checksum.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "lamina/io/file.hpp"

namespace lamina::io {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and written as they lie in memory");
constexpr std::int64_t largest_element = 8;

}  // namespace

PartialChecksum::PartialChecksum(TensorSpec global)
    : row_(global.shape.ndim() == 0 ? 1 : global.shape.back()),
      cells_per_row_((row_ + cell_elements - 1) / cell_elements),
      rows_(row_ == 0 ? 0 : global.shape.count() / row_),
      element_bytes_(sizeof_dtype(global.dtype)) {}

std::int64_t PartialChecksum::total_cells() const { return rows_ * cells_per_row_; }

void PartialChecksum::hash_cell(std::int64_t cell, void const* data, std::int64_t elements) {
  std::array<char, 8 + cell_elements * largest_element> buffer;
  auto const bytes = static_cast<std::size_t>(elements * element_bytes_);
  std::memcpy(buffer.data(), &cell, 8);
  std::memcpy(buffer.data() + 8, data, bytes);
  sum_ += hash128(buffer.data(), 8 + bytes);
  ++cells_;
}

void PartialChecksum::add(Run const& run, void const* data) {
  auto const* bytes = static_cast<char const*>(data);
  auto const end = run.global + run.count;
  for (auto at = run.global; at < end;) {
    auto const row = at / row_, column = at % row_;
    auto const begin_of_cell = column / cell_elements * cell_elements;
    auto const end_of_cell = std::min(begin_of_cell + cell_elements, row_);
    auto const cell = row * cells_per_row_ + begin_of_cell / cell_elements;
    auto const next = row * row_ + end_of_cell;
    if (column == begin_of_cell && next <= end) {
      hash_cell(cell, bytes + (at - run.global) * element_bytes_, end_of_cell - begin_of_cell);
    } else if (column == begin_of_cell) {
      cut_.push_back({.global = at, .local = cell, .count = end_of_cell - begin_of_cell});
    }
    at = next;
  }
}

void PartialChecksum::add_cut_cells(File const& file, std::int64_t offset) {
  std::array<char, cell_elements * largest_element> buffer;
  for (auto const& cell : cut_) {
    file.read(buffer.data(), cell.count * element_bytes_, offset + cell.global * element_bytes_);
    hash_cell(cell.local, buffer.data(), cell.count);
  }
  cut_.clear();
}

Hash128 checksum(TensorRef t) {
  PartialChecksum sum(t.spec);
  sum.add({.global = 0, .local = 0, .count = t.spec.count()}, t.data);
  return sum.sum();
}

}  // namespace lamina::io
