#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "plan/detail/plan.hpp"

namespace lamina::plan {

/// The form in which one product reads a weight, when it is not the f32 master itself.
struct WorkingCopy {
  std::string name;       ///< of the buffer, role packed: "<parameter>@bf16", "@forward" or "@backward"
  std::string parameter;  ///< name of the master
  bool packed = false;    ///< by pack_weight; else a plain copy in `dtype`
  std::string use;        ///< packed: "forward" or "backward"
  DType dtype = DType::bf16;
  std::int64_t n = 0, k = 0, rows = 0;  ///< packed: output features, input features, local rows of the product
  TensorSpec spec;                      ///< of the buffer
};

/// What operand `i` of a node reads instead of the parameter; nothing when that is the master.
std::optional<WorkingCopy> working_copy(Plan const& plan, Part const& part, graph::Node const& node, int i);

/// See Plan::masters.
std::set<std::string> find_masters(Plan const& plan);

}  // namespace lamina::plan
