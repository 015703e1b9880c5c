#pragma once

#include "math.hpp"

namespace lamina::kernels::detail {

/// z * sigmoid(2 u), u = sqrt(2 / pi) (z + 0.044715 z^3): equal to z / 2 (1 + tanh u), but exact to rounding where
/// 1 + tanh u cancels. The clamp keeps -inf * 0 from becoming NaN: below -12 the value is 0 to
/// 1e-37.
inline Floats gelu(Floats z) {
  Floats const c = z < -12.f ? splat(-12.f) : z;
  return c * sigmoid(c * (1.5957691216057308f + 0.0713548162726009f * c * c));
}

/// d gelu / dz = s + z s (1 - s) * 2 du/dz, s = sigmoid(2 u). Beyond 12 in size it is 0 or 1 to 1e-35.
inline Floats gelu_slope(Floats z) {
  Floats const c = z < -12.f ? splat(-12.f) : z > 12.f ? splat(12.f) : z;
  Floats const c2 = c * c;
  Floats const s = sigmoid(c * (1.5957691216057308f + 0.0713548162726009f * c2));
  return s + c * s * (1.f - s) * (1.5957691216057308f + 0.2140644488178027f * c2);
}

}  // namespace lamina::kernels::detail
