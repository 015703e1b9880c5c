#include "lamina/kernels/activation.hpp"

#include <cmath>
#include <numbers>

#include "../detail/element.hpp"

namespace lamina::kernels {

using detail::get, detail::put;

void gelu_reference(ActivationArgs const& a) {
  for (std::int64_t i = 0; i < a.z.spec.count(); ++i) {
    double const z = get(a.z, i), u = std::sqrt(2 / std::numbers::pi) * (z + 0.044715 * z * z * z);
    put(a.y, i, 0.5 * z * (1 + std::tanh(u)));
  }
}

void gelu_grad_reference(ActivationGradArgs const& a) {
  double const c = std::sqrt(2 / std::numbers::pi);
  for (std::int64_t i = 0; i < a.z.spec.count(); ++i) {
    double const z = get(a.z, i), t = std::tanh(c * (z + 0.044715 * z * z * z));
    put(a.dz, i, get(a.dy, i) * (0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * 0.044715 * z * z)));
  }
}

void relu_reference(ActivationArgs const& a) {
  for (std::int64_t i = 0; i < a.z.spec.count(); ++i) put(a.y, i, get(a.z, i) < 0 ? 0 : get(a.z, i));
}

void relu_grad_reference(ActivationGradArgs const& a) {
  for (std::int64_t i = 0; i < a.z.spec.count(); ++i) put(a.dz, i, get(a.z, i) > 0 ? get(a.dy, i) : 0);
}

}  // namespace lamina::kernels
