#pragma once

#include <string_view>

#include "check.hpp"

namespace lamina::kernels::detail {

/// Every id is in [0, vocab), or: Error "kernels.<op>.id" naming the first that is not.
void require_ids(std::string_view op, TensorRef const& ids, std::int64_t vocab);

}  // namespace lamina::kernels::detail
