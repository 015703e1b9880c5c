#pragma once

#include <vector>

#include "lamina/checkpoint/checkpoint.hpp"
#include "lamina/io/layout.hpp"

namespace lamina::checkpoint::detail {

/// The boxes of a piece; empty: the whole tensor.
inline std::vector<io::Box> boxes_of(Piece const& piece) {
  std::vector<io::Box> boxes;
  for (auto const& slab : piece.slabs) boxes.push_back({.offset = slab.offset, .extent = slab.extent});
  return boxes;
}

/// The same, with the whole tensor spelled out.
inline std::vector<io::Box> explicit_boxes_of(Piece const& piece) {
  auto boxes = boxes_of(piece);
  if (!boxes.empty()) return boxes;
  Shape origin = piece.global_shape;
  for (int d = 0; d < origin.ndim(); ++d) origin[d] = 0;
  return {{.offset = origin, .extent = piece.global_shape}};
}

/// True when the piece holds every element of its tensor.
inline bool is_whole(Piece const& piece) {
  return io::count_of(piece.global_shape, boxes_of(piece)) == piece.global_shape.count();
}

}  // namespace lamina::checkpoint::detail
