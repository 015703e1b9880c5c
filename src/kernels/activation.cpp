#include "lamina/kernels/activation.hpp"

#include "detail/elementwise.hpp"
#include "detail/gelu.hpp"

namespace lamina::kernels {
namespace {

using detail::Bf16, detail::Floats;

/// y = f(z). `label` is "lamina::kernels::" and the name of the op.
template <class F>
void forward(std::string_view op, std::string const& label, device::Stream& stream, ActivationArgs const& a,
             F const& f) {
  detail::check_alike({op}, "z", a.z, {{"y", &a.y}});
  stream.wait();
  auto const count = a.z.spec.count();
  a.z.spec.dtype == DType::f32 ? detail::map(label, count, a.z.as<float>(), a.y.as<float>(), f)
                               : detail::map(label, count, a.z.as<Bf16>(), a.y.as<Bf16>(), f);
}

/// dz = f(dy, z).
template <class F>
void backward(std::string_view op, std::string const& label, device::Stream& stream, ActivationGradArgs const& a,
              F const& f) {
  detail::check_alike({op}, "dy", a.dy, {{"z", &a.z}, {"dz", &a.dz}});
  stream.wait();
  auto const count = a.dy.spec.count();
  a.dy.spec.dtype == DType::f32 ? detail::map(label, count, a.dy.as<float>(), a.z.as<float>(), a.dz.as<float>(), f)
                                : detail::map(label, count, a.dy.as<Bf16>(), a.z.as<Bf16>(), a.dz.as<Bf16>(), f);
}

}  // namespace

void gelu(device::Stream& stream, ActivationArgs const& a) {
  static std::string const label = "lamina::kernels::gelu";
  forward("gelu", label, stream, a, [](Floats z) { return detail::gelu(z); });
}

void gelu_grad(device::Stream& stream, ActivationGradArgs const& a) {
  static std::string const label = "lamina::kernels::gelu_grad";
  backward("gelu_grad", label, stream, a, [](Floats dy, Floats z) { return dy * detail::gelu_slope(z); });
}

void relu(device::Stream& stream, ActivationArgs const& a) {
  static std::string const label = "lamina::kernels::relu";
  forward("relu", label, stream, a, [](Floats z) { return z < 0.f ? Floats{} : z; });
}

void relu_grad(device::Stream& stream, ActivationGradArgs const& a) {
  static std::string const label = "lamina::kernels::relu_grad";
  backward("relu_grad", label, stream, a, [](Floats dy, Floats z) { return z > 0.f ? dy : Floats{}; });
}

}  // namespace lamina::kernels
