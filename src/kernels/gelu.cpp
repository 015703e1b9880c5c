#include "lamina/kernels/gelu.hpp"

#include "detail/elementwise.hpp"
#include "detail/gelu.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class T>
void run(GeluArgs const& a) {
  static std::string const label = "lamina::kernels::gelu";
  map(label, a.z.spec.count(), a.z.as<T>(), a.y.as<T>(), [](Floats z) { return gelu(z); });
}

template <class T>
void run(GeluGradArgs const& a) {
  static std::string const label = "lamina::kernels::gelu_grad";
  map(label, a.z.spec.count(), a.dy.as<T>(), a.z.as<T>(), a.dz.as<T>(),
      [](Floats dy, Floats z) { return dy * gelu_slope(z); });
}

}  // namespace
}  // namespace detail

void gelu(device::Stream& stream, GeluArgs const& a) {
  detail::check_alike({"gelu"}, "z", a.z, {{"y", &a.y}});
  stream.wait();
  a.z.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

void gelu_grad(device::Stream& stream, GeluGradArgs const& a) {
  detail::check_alike({"gelu_grad"}, "dy", a.dy, {{"z", &a.z}, {"dz", &a.dz}});
  stream.wait();
  a.dy.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

}  // namespace lamina::kernels
