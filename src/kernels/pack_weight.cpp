#include "lamina/kernels/pack_weight.hpp"

#include "detail/linear.hpp"

namespace lamina::kernels {

bool wants_packed_weights(DType compute) { return detail::uses_library(compute); }

void pack_weight(device::Stream& stream, PackWeightArgs const& a) {
  detail::Check const check{"pack_weight"};
  check.dtype("w", a.w, {DType::f32, DType::bf16});
  check.count("w", a.w, a.n * a.k);
  check.dtype("packed", a.packed, {DType::u8});
  check.present("packed", a.packed);
  stream.wait();
  bool const forward = a.use == PackUse::forward;  // the product reads w transposed
  detail::pack({.data = a.w.data, .dtype = a.w.spec.dtype, .ld = a.k, .transposed = forward}, forward ? a.k : a.n,
               forward ? a.n : a.k, a.dtype, a.packed, detail::Scratch(a.scratch));
}

}  // namespace lamina::kernels
