#include "lamina/kernels/add.hpp"

#include "detail/elementwise.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class B>
void run(AddArgs const& a) {
  static std::string const label = "lamina::kernels::add";
  map(label, a.y.spec.count(), a.a.as<float>(), a.b.as<B>(), a.y.as<float>(), [](Floats x, Floats y) { return x + y; });
}

}  // namespace
}  // namespace detail

void add(device::Stream& stream, AddArgs const& a) {
  detail::Check const check{"add"};
  check.dtype("a", a.a, {DType::f32});
  check.dtype("b", a.b, {DType::f32, DType::bf16});
  check.dtype("y", a.y, {DType::f32});
  check.present("a", a.a);
  check.shape("b", a.b, a.a.spec.shape);
  check.shape("y", a.y, a.a.spec.shape);
  stream.wait();
  a.b.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

}  // namespace lamina::kernels
