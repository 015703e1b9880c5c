#include <cmath>

#include "../detail/element.hpp"
#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/sgd.hpp"
#include "lamina/kernels/square_norm.hpp"

namespace lamina::kernels {

using detail::get, detail::put;

void adamw_reference(AdamWArgs const& a) {
  double const lr = get(a.hyper, 0), step = get(a.hyper, 1), scale = get(a.hyper, 2);
  if (get(a.hyper, 3) != 0) return;
  double const correction1 = 1 - std::pow(a.beta1, step), correction2 = 1 - std::pow(a.beta2, step);
  for (std::int64_t i = 0; i < a.p.spec.count(); ++i) {
    double const g = get(a.g, i) * scale;
    double const p = get(a.p, i) * (1 - lr * a.weight_decay);
    double const m = a.beta1 * get(a.m, i) + (1 - a.beta1) * g, v = a.beta2 * get(a.v, i) + (1 - a.beta2) * g * g;
    put(a.m, i, m);
    put(a.v, i, v);
    put(a.p, i, p - lr / correction1 * m / (std::sqrt(v) / std::sqrt(correction2) + a.eps));
  }
}

void sgd_reference(SgdArgs const& a) {
  double const lr = get(a.hyper, 0), step = get(a.hyper, 1), scale = get(a.hyper, 2);
  if (get(a.hyper, 3) != 0) return;
  for (std::int64_t i = 0; i < a.p.spec.count(); ++i) {
    double m = get(a.g, i) * scale + a.weight_decay * get(a.p, i);
    if (a.momentum != 0) {
      if (step > 1) m += a.momentum * get(a.m, i);
      put(a.m, i, m);
    }
    put(a.p, i, get(a.p, i) - lr * m);
  }
}

void square_norm_reference(SquareNormArgs const& a) {
  double sum = 0, bad = 0;
  for (auto const& g : a.g) {
    for (std::int64_t i = 0; i < g.spec.count(); ++i) {
      double const x = get(g, i);
      std::isfinite(x) ? sum += x* x : bad += 1;
    }
  }
  detail::put_or_add(a.norm, 0, sum, a.accumulate, 0);
  detail::put_or_add(a.norm, 1, bad, a.accumulate, 0);
}

}  // namespace lamina::kernels
