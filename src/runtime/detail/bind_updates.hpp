#pragma once

#include "runtime/detail/operands.hpp"

namespace lamina::runtime::detail {

Kernel bind_adamw(Operands& o);
Kernel bind_sgd(Operands& o);
Kernel bind_square_norm(Operands& o);
Kernel bind_pack_weight(Operands& o);
Kernel bind_zero(Operands& o);
Kernel bind_fill(Operands& o);

}  // namespace lamina::runtime::detail
