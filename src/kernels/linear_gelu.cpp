#include "lamina/kernels/linear_gelu.hpp"

#include "detail/linear.hpp"

namespace lamina::kernels {

void linear_gelu(device::Stream& stream, LinearGeluArgs const& a) {
  detail::Check const check{"linear_gelu"};
  auto const t = a.x.spec.dtype;
  auto const d = detail::linear_dims(check, "z", a.z, "x", a.x, a.rows_dims);
  check.dtype("z", a.z, {t});
  check.dtype("y", a.y, {t});
  check.count("y", a.y, d.m * d.n);
  detail::check_weight(check, a.w, d);
  detail::check_bias(check, "bias", a.bias, d.n);
  stream.wait();
  detail::multiply_forward(check, a.w,
                           {.m = d.m,
                            .n = d.n,
                            .k = d.k,
                            .a = {.data = a.x.data, .dtype = t, .ld = d.k},
                            .b = {},
                            .c = {.data = a.z.data, .dtype = t, .ld = d.n},
                            .bias = a.bias.as<float>(),
                            .activated = a.y.data,
                            .activation = a.activation},
                           detail::Scratch(a.scratch));
}

}  // namespace lamina::kernels
