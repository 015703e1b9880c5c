#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lamina/tensor/shape.hpp"

namespace lamina::checkpoint::detail {

struct SafeTensorHead {
  std::string name;
  Shape shape;
};

/// Writes an f32 file whose tensors are made one at a time: `data(i)` is called once for each, in order.
/// Temporary + fsync + rename + fsync of the directory; nothing is left on failure.
void write_safetensors_streamed(std::string const& path, std::vector<SafeTensorHead> const& heads,
                                std::function<std::vector<float>(std::size_t)> const& data);

}  // namespace lamina::checkpoint::detail
