#pragma once

#include <string_view>

#include "lamina/plan/plan.hpp"

namespace lamina::plan {

/// The mesh axis that splits a dim of this logical name; "" when none does. The whole policy is one table.
std::string_view axis_of(std::string_view dim, Purpose purpose);

/// f32 weights are re-packed for these uses when the machine packs weights at all. Each costs one more copy of the
/// weights; bf16 working copies exist in any case.
inline constexpr bool pack_f32_forward = true;
inline constexpr bool pack_f32_backward = true;

}  // namespace lamina::plan
