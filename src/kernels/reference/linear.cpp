#include "lamina/kernels/linear.hpp"

#include "../detail/element.hpp"
#include "lamina/kernels/activation.hpp"
#include "lamina/kernels/linear_gelu.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"

namespace lamina::kernels {

using detail::get, detail::put, detail::put_or_add;

namespace {

/// w as the product sees it: rounded to bf16 when x is bf16.
double weight(TensorRef const& w, std::int64_t i, DType product) {
  std::uint16_t rounded = 0;
  TensorRef const one{&rounded, {DType::bf16, {1}}};
  if (product != DType::bf16) return get(w, i);
  put(one, 0, get(w, i));
  return get(one, 0);
}

struct Dims {
  std::int64_t m, n, k;
};

Dims dims(TensorRef const& outer, TensorRef const& inner, int rows_dims) {
  auto const& o = outer.spec.shape;
  auto const& i = inner.spec.shape;
  return {o.count(0, rows_dims), o.count(rows_dims, o.ndim()), i.count(rows_dims, i.ndim())};
}

}  // namespace

void linear_reference(LinearArgs const& a) {
  auto const d = dims(a.y, a.x, a.rows_dims);
  for (std::int64_t m = 0; m < d.m; ++m) {
    for (std::int64_t n = 0; n < d.n; ++n) {
      double sum = a.bias ? get(a.bias, n) : 0;
      for (std::int64_t k = 0; k < d.k; ++k) sum += get(a.x, m * d.k + k) * weight(a.w, n * d.k + k, a.x.spec.dtype);
      put(a.y, m * d.n + n, sum);
    }
  }
}

void linear_gelu_reference(LinearGeluArgs const& a) {
  linear_reference({.x = a.x, .w = a.w, .bias = a.bias, .y = a.z, .scratch = a.scratch, .rows_dims = a.rows_dims});
  a.activation == Activation::gelu ? gelu_reference({.z = a.z, .y = a.y}) : relu_reference({.z = a.z, .y = a.y});
}

void linear_grad_input_reference(LinearGradInputArgs const& a) {
  auto const d = dims(a.dy, a.dx, a.rows_dims);
  for (std::int64_t m = 0; m < d.m; ++m) {
    for (std::int64_t k = 0; k < d.k; ++k) {
      double sum = 0;
      for (std::int64_t n = 0; n < d.n; ++n) sum += get(a.dy, m * d.n + n) * weight(a.w, n * d.k + k, a.dy.spec.dtype);
      put(a.dx, m * d.k + k, sum);
    }
  }
}

void linear_grad_weight_reference(LinearGradWeightArgs const& a) {
  auto const d = dims(a.dy, a.x, a.rows_dims);
  for (std::int64_t n = 0; n < d.n; ++n) {
    double bias = 0;
    for (std::int64_t m = 0; m < d.m; ++m) bias += get(a.dy, m * d.n + n);
    if (a.dbias) put_or_add(a.dbias, n, bias, a.accumulate, 1);
    for (std::int64_t k = 0; k < d.k; ++k) {
      double sum = 0;
      for (std::int64_t m = 0; m < d.m; ++m) sum += get(a.dy, m * d.n + n) * get(a.x, m * d.k + k);
      put_or_add(a.dw, n * d.k + k, sum, a.accumulate, 0);
    }
  }
}

}  // namespace lamina::kernels
