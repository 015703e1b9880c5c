#include "lamina/kernels/loss_sum.hpp"

#include <cmath>

#include "../detail/element.hpp"
#include "lamina/kernels/softmax_rescale.hpp"

namespace lamina::kernels {

void loss_sum_reference(LossSumArgs const& a) {
  double sum = 0, count = 0;
  for (std::int64_t r = 0; r < a.targets.spec.count(); ++r) {
    if (a.targets.as<std::int32_t>()[r] < 0) continue;
    sum += detail::get(a.max, r) + std::log(detail::get(a.sum, r)) - detail::get(a.target, r);
    count += 1;
  }
  detail::put_or_add(a.loss, 0, sum, a.accumulate, 0);
  detail::put_or_add(a.loss, 1, count, a.accumulate, 0);
}

void softmax_rescale_reference(SoftmaxRescaleArgs const& a) {
  for (std::int64_t i = 0; i < a.sum.spec.count(); ++i) {
    detail::put(a.y, i, detail::get(a.sum, i) * std::exp(detail::get(a.own_max, i) - detail::get(a.max, i)));
  }
}

}  // namespace lamina::kernels
