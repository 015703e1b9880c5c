#include <algorithm>
#include <ranges>

#include "checkpoint/detail/piece.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/io/checksum.hpp"

namespace lamina::checkpoint {
namespace {

/// A box cut along dim 0 into units: rows, or checksum cells when there is only one dim.
class Units {
 public:
  Units(io::Box const& box, std::int64_t element_bytes) {
    int const ndim = box.extent.ndim();
    rows_ = ndim == 0 ? 1 : box.extent[0];
    row_bytes_ = (ndim == 0 ? 1 : box.extent.count(1, ndim)) * element_bytes;
    if (ndim == 1) unit_ = io::PartialChecksum::cell_elements, lead_ = box.offset[0] % unit_;
  }
  std::int64_t size() const { return (rows_ + lead_ + unit_ - 1) / unit_; }
  /// First row of a unit within the box.
  std::int64_t row(std::int64_t unit) const { return std::clamp<std::int64_t>(unit * unit_ - lead_, 0, rows_); }
  std::int64_t byte(std::int64_t unit) const { return row(unit) * row_bytes_; }
  std::int64_t bytes() const { return rows_ * row_bytes_; }

 private:
  std::int64_t rows_ = 0, row_bytes_ = 0, unit_ = 1, lead_ = 0;
};

/// First unit that begins at or behind `byte`.
std::int64_t unit_at(Units const& units, std::int64_t byte) {
  auto const all = std::views::iota(std::int64_t{0}, units.size());
  return *std::ranges::partition_point(all, [&](std::int64_t u) { return units.byte(u) < byte; });
}

Piece rows_of(Piece const& whole, io::Box box, char* memory, std::int64_t first, std::int64_t last) {
  auto const size = sizeof_dtype(whole.memory.spec.dtype);
  auto const row = box.extent.ndim() == 0 ? 1 : box.extent.count(1, box.extent.ndim());
  if (box.extent.ndim() > 0) box.offset[0] += first, box.extent[0] = last - first;
  Piece part = whole;
  part.slabs = {{.offset = box.offset, .extent = box.extent}};
  part.memory = {memory + first * row * size, {.dtype = whole.memory.spec.dtype, .shape = box.extent}};
  return part;
}

}  // namespace

std::vector<Piece> split_among_replicas(std::vector<Piece> const& common, int replica, int replicas) {
  if (replica < 0 || replica >= replicas) {
    fail({.code = "checkpoint.save.replicas",
          .subject = "split_among_replicas",
          .found = text("replica ", replica, " of ", replicas),
          .expected = "0 <= replica < replicas",
          .fix = "pass the coordinate and the size of the data-parallel axis"});
  }
  std::int64_t total = 0;
  for (auto const& piece : common) total += piece.owner ? piece.memory.spec.bytes() : 0;
  auto const begin = total / replicas * replica + total % replicas * replica / replicas;
  auto const end = total / replicas * (replica + 1) + total % replicas * (replica + 1) / replicas;
  std::vector<Piece> mine;
  std::int64_t place = 0;
  for (auto const& piece : common) {
    if (!piece.owner) continue;
    auto* memory = piece.memory.as<char>();
    for (auto const& box : detail::explicit_boxes_of(piece)) {
      Units const units(box, sizeof_dtype(piece.memory.spec.dtype));
      bool const empty = units.bytes() == 0;  // still needs an owner: the first replica
      auto const first = units.row(unit_at(units, begin - place)), last = units.row(unit_at(units, end - place));
      if (empty ? replica == 0 : first < last)
        mine.push_back(rows_of(piece, box, memory, first, empty ? units.row(units.size()) : last));
      place += units.bytes();
      memory += units.bytes();
    }
  }
  return mine;
}

}  // namespace lamina::checkpoint
