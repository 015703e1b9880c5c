#pragma once

#include <string>

#include "plan/detail/layout.hpp"

namespace lamina::plan {

/// What `propagate` refuses, each in words: node, tensor, layouts, way out.
class LayoutErrors {
 public:
  LayoutErrors(graph::Graph const& graph, Mesh const& mesh) : graph_(graph), mesh_(mesh) {}

  [[noreturn]] void partial(graph::Node const& node, int value, AxisLayout layout, std::size_t axis) const;
  [[noreturn]] void whole(graph::Node const& node, int value, AxisLayout layout, std::size_t axis) const;
  [[noreturn]] void mismatch(graph::Node const& node, int a, int b, std::size_t axis, Layouts const& layouts) const;
  [[noreturn]] void output(graph::Node const& node, int value, char letter, std::size_t axis) const;
  [[noreturn]] void writers(graph::Node const& node, int state, AxisLayout layout, AxisLayout known,
                            std::size_t axis) const;

 private:
  std::string where(graph::Node const& n) const;
  std::string over(std::size_t axis) const;

  graph::Graph const& graph_;
  Mesh const& mesh_;
};

/// @throws Error "plan.shard.divisibility" with the divisors of the extent.
[[noreturn]] void fail_divisibility(graph::Value const& value, int dim, std::int64_t extent, Mesh const& mesh,
                                    std::size_t axis);

}  // namespace lamina::plan
