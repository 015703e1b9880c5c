#pragma once

namespace lamina::kernels {

/// Numbers that are multiples of 2^-fraction, held in f64. Sums of them are exact while they stay below
/// 2^(53 - fraction); a rank keeps what it writes within `limit`, which leaves room for the terms of the other ranks.
struct FixedPoint {
  int fraction = 0;
  double limit = 0;
};

/// A kernel's arguments, and the fixed point of its sums.
template <class Args>
struct Exact {
  Args args;
  FixedPoint sums;
  FixedPoint logits = {};  ///< of the products inside of the head's ops
};

}  // namespace lamina::kernels
