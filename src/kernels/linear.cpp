#include "lamina/kernels/linear.hpp"

#include "detail/linear.hpp"
#include "detail/row_product.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels {
namespace detail {

LinearDims linear_dims(Check const& check, std::string_view outer_name, TensorRef const& outer,
                       std::string_view inner_name, TensorRef const& inner, int rows_dims) {
  check.dtype(outer_name, outer, {DType::f32, DType::bf16});
  check.dtype(inner_name, inner, {DType::f32, DType::bf16});
  check.ndim(outer_name, outer, rows_dims + 1);
  check.ndim(inner_name, inner, rows_dims + 1);
  auto const& o = outer.spec.shape;
  auto const& i = inner.spec.shape;
  LinearDims const d{o.count(0, rows_dims), o.count(rows_dims, o.ndim()), i.count(rows_dims, i.ndim())};
  check.count(inner_name, inner, d.m * d.k);
  return d;
}

void check_weight(Check const& check, TensorRef const& w, LinearDims const& d) {
  check.dtype("w", w, {DType::f32, DType::bf16, DType::u8});
  if (w.spec.dtype != DType::u8) check.count("w", w, d.n * d.k);
}

void check_bias(Check const& check, std::string_view name, TensorRef const& bias, std::int64_t n) {
  if (!bias) return;
  check.dtype(name, bias, {DType::f32});
  check.count(name, bias, n);
}

Matrix weight_operand(Check const& check, TensorRef const& w, std::int64_t n, std::int64_t k, DType t,
                      Scratch& scratch) {
  if (w.spec.dtype == t || w.spec.dtype == DType::u8) return {.data = w.data, .dtype = w.spec.dtype, .ld = k};
  auto const bytes = n * k * sizeof_dtype(t);
  auto const left = scratch.left();
  auto* const copy = scratch.take(bytes);
  if (copy == nullptr) check.scratch({nullptr, {DType::u8, {left}}}, bytes);
  convert(w.data, w.spec.dtype, copy, t, n * k);
  return {.data = copy, .dtype = t, .ld = k};
}

void multiply_forward(Check const& check, TensorRef const& w, Product p, Scratch scratch) {
  if (p.m <= few_rows && w.spec.dtype != DType::u8) return multiply_few_rows(check, p, w, scratch);
  p.b = weight_operand(check, w, p.n, p.k, p.a.dtype, scratch);
  p.b.transposed = true;
  multiply(check.op, p, scratch);
}

}  // namespace detail

void linear(device::Stream& stream, LinearArgs const& a) {
  detail::Check const check{"linear"};
  auto const d = detail::linear_dims(check, "y", a.y, "x", a.x, a.rows_dims);
  detail::check_weight(check, a.w, d);
  detail::check_bias(check, "bias", a.bias, d.n);
  stream.wait();
  auto const t = a.x.spec.dtype;
  detail::multiply_forward(check, a.w,
                           {.m = d.m,
                            .n = d.n,
                            .k = d.k,
                            .a = {.data = a.x.data, .dtype = t, .ld = d.k},
                            .b = {},
                            .c = {.data = a.y.data, .dtype = a.y.spec.dtype, .ld = d.n},
                            .bias = a.bias.as<float>()},
                           detail::Scratch(a.scratch));
}

}  // namespace lamina::kernels
