#include "lamina/kernels/linear_grad_input.hpp"

#include "detail/linear.hpp"

namespace lamina::kernels {

void linear_grad_input(device::Stream& stream, LinearGradInputArgs const& a) {
  detail::Check const check{"linear_grad_input"};
  auto const d = detail::linear_dims(check, "dy", a.dy, "dx", a.dx, a.rows_dims);
  detail::check_weight(check, a.w, d);
  stream.wait();
  detail::Scratch scratch(a.scratch);
  auto const t = a.dy.spec.dtype;
  auto const w = detail::weight_operand(check, a.w, d.n, d.k, t, scratch);
  detail::multiply("linear_grad_input",
                   {.m = d.m,
                    .n = d.k,
                    .k = d.n,
                    .a = {.data = a.dy.data, .dtype = t, .ld = d.n},
                    .b = w,
                    .c = {.data = a.dx.data, .dtype = a.dx.spec.dtype, .ld = d.k}},
                   scratch);
}

}  // namespace lamina::kernels
