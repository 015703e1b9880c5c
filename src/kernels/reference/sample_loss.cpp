#include <algorithm>
#include <cmath>

#include "../detail/element.hpp"
#include "lamina/kernels/cross_entropy.hpp"
#include "lamina/kernels/mse.hpp"

namespace lamina::kernels {
namespace {

double softmax_sum(TensorRef const& x, std::int64_t row, std::int64_t classes) {
  double sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(detail::get(x, row * classes + c));
  return sum;
}

void put_pair(TensorRef const& pair, double first, double second, int accumulate) {
  detail::put_or_add(pair, 0, first, accumulate, 0);
  detail::put_or_add(pair, 1, second, accumulate, 0);
}

}  // namespace

void cross_entropy_reference(CrossEntropyArgs const& a) {
  auto const classes = a.x.spec.shape.back();
  double loss = 0, count = 0;
  for (std::int64_t r = 0; r < detail::rows_of(a.x); ++r) {
    auto const target = a.targets.as<std::int32_t>()[r];
    if (target < 0) continue;
    loss += std::log(softmax_sum(a.x, r, classes)) - detail::get(a.x, r * classes + target);
    count += 1;
  }
  put_pair(a.loss, loss, count, a.accumulate);
}

void cross_entropy_grad_reference(CrossEntropyGradArgs const& a) {
  auto const classes = a.x.spec.shape.back();
  for (std::int64_t r = 0; r < detail::rows_of(a.x); ++r) {
    auto const target = a.targets.as<std::int32_t>()[r];
    double const sum = softmax_sum(a.x, r, classes);
    for (std::int64_t c = 0; c < classes; ++c) {
      auto const i = r * classes + c;
      detail::put(a.dx, i, target < 0 ? 0 : std::exp(detail::get(a.x, i)) / sum - (c == target ? 1 : 0));
    }
  }
}

void accuracy_reference(AccuracyArgs const& a) {
  auto const classes = a.x.spec.shape.back();
  double hits = 0, count = 0;
  for (std::int64_t r = 0; r < detail::rows_of(a.x); ++r) {
    auto const target = a.targets.as<std::int32_t>()[r];
    if (target < 0) continue;
    auto const* x = a.x.as<float>() + r * classes;
    bool const bad = std::any_of(x, x + classes, [](float v) { return std::isnan(v); });
    hits += !bad && std::max_element(x, x + classes) - x == target ? 1 : 0;
    count += 1;
  }
  put_pair(a.hits, hits, count, a.accumulate);
}

void mse_reference(MseArgs const& a) {
  auto const samples = a.x.spec.shape[0], outputs = a.x.spec.shape.count(1, a.x.spec.shape.ndim());
  double loss = 0, count = 0;
  for (std::int64_t b = 0; b < samples; ++b) {
    if (a.counted.as<std::int32_t>()[b] < 0) continue;
    double sum = 0;
    for (auto i = b * outputs; i < (b + 1) * outputs; ++i) {
      sum += std::pow(detail::get(a.x, i) - detail::get(a.y, i), 2);
    }
    loss += sum / static_cast<double>(outputs);
    count += 1;
  }
  put_pair(a.loss, loss, count, a.accumulate);
}

void mse_grad_reference(MseGradArgs const& a) {
  auto const outputs = a.x.spec.shape.count(1, a.x.spec.shape.ndim());
  for (std::int64_t i = 0; i < a.x.spec.count(); ++i) {
    bool const ignored = a.counted.as<std::int32_t>()[i / outputs] < 0;
    auto const d = detail::get(a.x, i) - detail::get(a.y, i);
    detail::put(a.dx, i, ignored ? 0 : 2 * d / static_cast<double>(outputs));
  }
}

}  // namespace lamina::kernels
