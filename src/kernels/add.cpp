#include "lamina/kernels/add.hpp"

#include "detail/elementwise.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

std::string const label = "lamina::kernels::add";

template <class B>
void run(AddArgs const& a) {
  map(label, a.y.spec.count(), a.a.as<float>(), a.b.as<B>(), a.y.as<float>(), [](Floats x, Floats y) { return x + y; });
}

/// Exact sums.
void run_f64(AddArgs const& a) {
  for_each_range(label, a.y.spec.count(), element_grain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) a.y.as<double>()[i] = a.a.as<double>()[i] + a.b.as<double>()[i];
  });
}

}  // namespace
}  // namespace detail

void add(device::Stream& stream, AddArgs const& a) {
  detail::Check const check{"add"};
  bool const exact = a.a.spec.dtype == DType::f64;
  check.dtype("a", a.a, {DType::f32, DType::f64});
  exact ? check.dtype("b", a.b, {DType::f64}) : check.dtype("b", a.b, {DType::f32, DType::bf16});
  check.dtype("y", a.y, {a.a.spec.dtype});
  check.present("a", a.a);
  check.shape("b", a.b, a.a.spec.shape);
  check.shape("y", a.y, a.a.spec.shape);
  stream.wait();
  if (exact) return detail::run_f64(a);
  a.b.spec.dtype == DType::f32 ? detail::run<float>(a) : detail::run<detail::Bf16>(a);
}

}  // namespace lamina::kernels
