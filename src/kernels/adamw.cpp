#include "lamina/kernels/adamw.hpp"

#include <cmath>

#include "detail/elementwise.hpp"
#include "detail/optimizer.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class G>
void run_adamw(AdamWArgs const& a) {
  static std::string const label = "lamina::kernels::adamw";
  auto const* hyper = a.hyper.as<double>();
  if (hyper[3] != 0) return;
  double const lr = hyper[0], step = hyper[1];
  double const correction1 = 1 - std::pow(a.beta1, step), correction2 = 1 - std::pow(a.beta2, step);
  auto const scale = static_cast<float>(hyper[2]), decay = static_cast<float>(1 - lr * a.weight_decay);
  auto const towards_g = static_cast<float>(1 - a.beta1), beta2 = static_cast<float>(a.beta2);
  auto const towards_square = static_cast<float>(1 - a.beta2), eps = static_cast<float>(a.eps);
  auto const size = static_cast<float>(lr / correction1), root = static_cast<float>(1 / std::sqrt(correction2));
  auto const* g = a.g.as<G>();
  auto *p = a.p.as<float>(), *m = a.m.as<float>(), *v = a.v.as<float>();
  for_each_range(label, a.g.spec.count(), element_grain, [=](std::int64_t begin, std::int64_t end) {
    for_vectors(begin, end, [=](std::int64_t i, auto part) {
      Floats const gi = load(g + i, part) * scale, m0 = load(m + i, part);
      Floats const mi = m0 + towards_g * (gi - m0), vi = beta2 * load(v + i, part) + towards_square * gi * gi;
      store(m + i, mi, part);
      store(v + i, vi, part);
      store(p + i, load(p + i, part) * decay - size * mi / (sqrt(vi) * root + eps), part);
    });
  });
}

}  // namespace
}  // namespace detail

void adamw(device::Stream& stream, AdamWArgs const& a) {
  detail::Check const check{"adamw"};
  detail::check_state(check, a.g, {{"p", &a.p}, {"m", &a.m}, {"v", &a.v}}, a.hyper);
  stream.wait();
  a.g.spec.dtype == DType::f64 ? detail::run_adamw<double>(a) : detail::run_adamw<float>(a);
}

}  // namespace lamina::kernels
