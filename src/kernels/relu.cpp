#include "lamina/kernels/relu.hpp"

#include "detail/elementwise.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class T>
void run(ReluArgs const& a) {
  static std::string const label = "lamina::kernels::relu";
  map(label, a.z.spec.count(), a.z.as<T>(), a.y.as<T>(), [](Floats z) { return z < 0.f ? Floats{} : z; });
}

template <class T>
void run(ReluGradArgs const& a) {
  static std::string const label = "lamina::kernels::relu_grad";
  map(label, a.z.spec.count(), a.dy.as<T>(), a.z.as<T>(), a.dz.as<T>(),
      [](Floats dy, Floats z) { return z > 0.f ? dy : Floats{}; });
}

}  // namespace
}  // namespace detail

void relu(device::Stream& stream, ReluArgs const& a) {
  detail::check_alike({"relu"}, "z", a.z, {{"y", &a.y}});
  stream.wait();
  a.z.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

void relu_grad(device::Stream& stream, ReluGradArgs const& a) {
  detail::check_alike({"relu_grad"}, "dy", a.dy, {{"z", &a.z}, {"dz", &a.dz}});
  stream.wait();
  a.dy.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

}  // namespace lamina::kernels
