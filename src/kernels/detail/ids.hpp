#pragma once

#include <string_view>

#include "check.hpp"

namespace lamina::kernels::detail {

/// Every id is in [0, vocab), or: Error "kernels.<op>.id" naming the first that is not.
void require_ids(std::string_view op, TensorRef const& ids, std::int64_t vocab);
/// One target per row, each below the vocabulary, or: Error "kernels.<op>.target" naming the first that is not.
void require_targets(Check const& check, TensorRef const& targets, std::int64_t rows, std::int64_t vocab);
/// The same for rows of logits of classes.
void require_classes(Check const& check, TensorRef const& x, TensorRef const& targets);

}  // namespace lamina::kernels::detail
