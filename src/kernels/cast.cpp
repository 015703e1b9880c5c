#include "lamina/kernels/cast.hpp"

#include "detail/elementwise.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class X, class Y>
void run(CastArgs const& a) {
  static std::string const label = "lamina::kernels::cast";
  map(label, a.y.spec.count(), a.x.as<X>(), a.y.as<Y>(), [](Floats x) { return x; });
}

}  // namespace
}  // namespace detail

void cast(device::Stream& stream, CastArgs const& a) {
  detail::Check const check{"cast"};
  check.dtype("x", a.x, {DType::f32, DType::bf16, DType::f64});
  check.dtype("y", a.y, {DType::f32, DType::bf16});
  check.present("x", a.x);
  check.shape("y", a.y, a.x.spec.shape);
  stream.wait();
  bool const x32 = a.x.spec.dtype == DType::f32, y32 = a.y.spec.dtype == DType::f32;
  if (a.x.spec.dtype == DType::f64) return y32 ? detail::run<double, float>(a) : detail::run<double, detail::Bf16>(a);
  if (x32 && y32) return detail::run<float, float>(a);
  if (x32) return detail::run<float, detail::Bf16>(a);
  if (y32) return detail::run<detail::Bf16, float>(a);
  detail::run<detail::Bf16, detail::Bf16>(a);
}

}  // namespace lamina::kernels
