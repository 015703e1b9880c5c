#include "../detail/check.hpp"
#include "../detail/exact.hpp"
#include "lamina/kernels/exact.hpp"

namespace lamina::kernels {
namespace {

using detail::Terms;

/// A tensor [rows dims, columns dims] whose rows, or whose columns, are the rows of terms.
Terms along_rows(TensorRef const& t, std::int64_t rows, std::int64_t columns) { return {t, rows, columns, 1}; }
Terms along_columns(TensorRef const& t, std::int64_t columns) { return {t, columns, 1, columns}; }

struct Sizes {
  std::int64_t m, n, k;
};
Sizes sizes(TensorRef const& outer, TensorRef const& inner, int rows_dims) {
  auto const &o = outer.spec.shape, &i = inner.spec.shape;
  return {o.count(0, rows_dims), o.count(rows_dims, o.ndim()), i.count(rows_dims, i.ndim())};
}

void check_product(std::string_view op, TensorRef const& x, TensorRef const& w, TensorRef const& y, Sizes const& s) {
  detail::Check const check{op};
  check.dtype("the left operand", x, {DType::f32, DType::bf16});
  check.dtype("w", w, {DType::f32, DType::bf16});
  check.count("w", w, s.n * s.k);
  check.dtype("the result", y, {DType::f64});
  check.present("the result", y);
}

bool rounds(TensorRef const& x, TensorRef const& w) {
  return x.spec.dtype == DType::bf16 && w.spec.dtype == DType::f32;
}

}  // namespace

void linear_exact(device::Stream& stream, Exact<LinearArgs> const& e) {
  auto const& a = e.args;
  auto const s = sizes(a.y, a.x, a.rows_dims);
  check_product("linear", a.x, a.w, a.y, s);
  if (a.bias) detail::Check{"linear"}.dtype("bias", a.bias, {DType::f32});
  if (a.bias) detail::Check{"linear"}.count("bias", a.bias, s.n);
  stream.wait();
  auto w = along_rows(a.w, s.n, s.k);
  w.to_bf16 = rounds(a.x, a.w);
  detail::Overflow overflow;
  detail::exact_product({.a = along_rows(a.x, s.m, s.k),
                         .b = w,
                         .k = s.k,
                         .c = a.y.as<double>(),
                         .c_stride = s.n,
                         .start = a.bias ? a.bias.as<float>() : nullptr,
                         .sums = e.sums},
                        overflow);
  overflow.require("linear", "y", e.sums);
}

void linear_grad_input_exact(device::Stream& stream, Exact<LinearGradInputArgs> const& e) {
  auto const& a = e.args;
  auto const s = sizes(a.dy, a.dx, a.rows_dims);
  check_product("linear_grad_input", a.dy, a.w, a.dx, s);
  stream.wait();
  auto w = along_columns(a.w, s.k);
  w.to_bf16 = rounds(a.dy, a.w);
  detail::Overflow overflow;
  detail::exact_product(
      {.a = along_rows(a.dy, s.m, s.n), .b = w, .k = s.n, .c = a.dx.as<double>(), .c_stride = s.k, .sums = e.sums},
      overflow);
  overflow.require("linear_grad_input", "dx", e.sums);
}

void linear_grad_weight_exact(device::Stream& stream, Exact<LinearGradWeightArgs> const& e) {
  auto const& a = e.args;
  auto const s = sizes(a.dy, a.x, a.rows_dims);
  detail::Check const check{"linear_grad_weight"};
  check.dtype("dy", a.dy, {DType::f32, DType::bf16});
  check.dtype("x", a.x, {a.dy.spec.dtype});
  check.count("x", a.x, s.m * s.k);
  check.dtype("dw", a.dw, {DType::f64});
  check.count("dw", a.dw, s.n * s.k);
  stream.wait();
  detail::Overflow overflow;
  detail::exact_product({.a = along_columns(a.dy, s.n),
                         .b = along_columns(a.x, s.k),
                         .k = s.m,
                         .c = a.dw.as<double>(),
                         .c_stride = s.k,
                         .add = (a.accumulate & 1) != 0,
                         .sums = e.sums},
                        overflow);
  overflow.require("linear_grad_weight", "dw", e.sums);
  if (!a.dbias) return;
  check.dtype("dbias", a.dbias, {DType::f64});
  check.count("dbias", a.dbias, s.n);
  float const one = 1;  // the same one for every row: strides of 0
  TensorRef const ones{const_cast<float*>(&one), {DType::f32, {1}}};
  detail::exact_product({.a = {ones, 1, 0, 0},
                         .b = along_columns(a.dy, s.n),
                         .k = s.m,
                         .c = a.dbias.as<double>(),
                         .c_stride = s.n,
                         .add = (a.accumulate & 2) != 0,
                         .sums = e.sums},
                        overflow);
  overflow.require("linear_grad_weight", "dbias", e.sums);
}

}  // namespace lamina::kernels
