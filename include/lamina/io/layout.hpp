#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lamina/tensor/shape.hpp"

/// Where the boxes of a global row-major tensor lie in a file and in memory.
namespace lamina::io {

/// A box of a global tensor. A list of boxes lies in memory one after the other, each row-major; an empty list stands
/// for the whole tensor.
struct Box {
  Shape offset, extent;
  friend bool operator==(Box const&, Box const&) = default;
};

/// Elements that are contiguous both in the global tensor and in memory.
struct Run {
  std::int64_t global = 0;  ///< first element, index in the global tensor
  std::int64_t local = 0;   ///< the same element, index in memory
  std::int64_t count = 0;
  friend bool operator==(Run const&, Run const&) = default;
};

/// The longest runs of the boxes, in memory order; none of length 0.
/// @throws Error "io.box.outside" when a box does not lie inside the tensor; `name` is for the message.
std::vector<Run> runs_of(std::string const& name, Shape const& global, std::span<Box const> boxes);

/// Elements of the boxes.
std::int64_t count_of(Shape const& global, std::span<Box const> boxes);

/// True when two boxes share an element.
bool overlap(Box const& a, Box const& b);

}  // namespace lamina::io
