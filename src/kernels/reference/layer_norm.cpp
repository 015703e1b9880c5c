#include "lamina/kernels/layer_norm.hpp"

#include <cmath>

#include "../detail/element.hpp"
#include "../detail/exact.hpp"

namespace lamina::kernels {

using detail::get, detail::put, detail::put_or_add;

void layer_norm_reference(LayerNormArgs const& a) {
  auto const columns = a.x.spec.shape.back(), rows = detail::rows_of(a.x);
  for (std::int64_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (std::int64_t d = 0; d < columns; ++d) mean += get(a.x, r * columns + d) / static_cast<double>(columns);
    for (std::int64_t d = 0; d < columns; ++d) {
      variance += std::pow(get(a.x, r * columns + d) - mean, 2) / static_cast<double>(columns);
    }
    double const rstd = 1 / std::sqrt(variance + a.eps);
    for (std::int64_t d = 0; d < columns; ++d) {
      put(a.y, r * columns + d, (get(a.x, r * columns + d) - mean) * rstd * get(a.scale, d) + get(a.shift, d));
    }
    put(a.mean, r, mean);
    put(a.rstd, r, rstd);
  }
}

void add_layer_norm_reference(AddLayerNormArgs const& a) {
  for (std::int64_t i = 0; i < a.a.spec.count(); ++i) put(a.r, i, get(a.a, i) + get(a.b, i));
  layer_norm_reference(
      {.x = a.r, .scale = a.scale, .shift = a.shift, .y = a.y, .mean = a.mean, .rstd = a.rstd, .eps = a.eps});
}

namespace {

double xhat(LayerNormGradArgs const& a, std::int64_t r, std::int64_t d) {
  return (get(a.x, r * a.x.spec.shape.back() + d) - get(a.mean, r)) * get(a.rstd, r);
}

}  // namespace

void layer_norm_grad_reference(LayerNormGradArgs const& a) {
  auto const columns = a.x.spec.shape.back(), rows = detail::rows_of(a.x);
  for (std::int64_t d = 0; d < columns; ++d) {  // before dx: dx may be the residual's memory, never dy's or x's
    double dscale = 0, dshift = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      dscale += get(a.dy, r * columns + d) * xhat(a, r, d);
      dshift += get(a.dy, r * columns + d);
    }
    put_or_add(a.dscale, d, dscale, a.accumulate, 1);
    put_or_add(a.dshift, d, dshift, a.accumulate, 2);
  }
  detail::layer_norm_grad_rows(a, 0, rows);
}

void detail::layer_norm_grad_rows(LayerNormGradArgs const& a, std::int64_t begin, std::int64_t end) {
  auto const columns = a.x.spec.shape.back();
  for (auto r = begin; r < end; ++r) {
    double mean_g = 0, mean_gx = 0;
    for (std::int64_t d = 0; d < columns; ++d) {
      auto const g = get(a.dy, r * columns + d) * get(a.scale, d);
      mean_g += g / static_cast<double>(columns);
      mean_gx += g * xhat(a, r, d) / static_cast<double>(columns);
    }
    for (std::int64_t d = 0; d < columns; ++d) {
      auto const i = r * columns + d;
      auto const g = get(a.dy, i) * get(a.scale, d);
      put(a.dx, i, get(a.rstd, r) * (g - mean_g - xhat(a, r, d) * mean_gx) + (a.residual ? get(a.residual, i) : 0));
    }
  }
}

}  // namespace lamina::kernels
