#include "lamina/kernels/sgd.hpp"

#include "detail/elementwise.hpp"
#include "detail/optimizer.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

template <class G>
void run_sgd(SgdArgs const& a) {
  static std::string const label = "lamina::kernels::sgd";
  bool const with_momentum = a.momentum != 0;
  auto const* hyper = a.hyper.as<double>();
  if (hyper[3] != 0) return;
  auto const lr = static_cast<float>(hyper[0]), scale = static_cast<float>(hyper[2]);
  auto const momentum = static_cast<float>(a.momentum), decay = static_cast<float>(a.weight_decay);
  bool const first = hyper[1] <= 1;
  auto const* g = a.g.as<G>();
  auto *p = a.p.as<float>(), *m = a.m.as<float>();
  for_each_range(label, a.g.spec.count(), element_grain, [=](std::int64_t begin, std::int64_t end) {
    for_vectors(begin, end, [=](std::int64_t i, auto part) {
      Floats const pi = load(p + i, part);
      Floats d = load(g + i, part) * scale + decay * pi;
      if (with_momentum) {
        if (!first) d += momentum * load(m + i, part);
        store(m + i, d, part);
      }
      store(p + i, pi - lr * d, part);
    });
  });
}

}  // namespace
}  // namespace detail

void sgd(device::Stream& stream, SgdArgs const& a) {
  detail::Check const check{"sgd"};
  detail::check_state(check, a.g, {{"p", &a.p}, {"m", a.momentum != 0 ? &a.m : &a.p}}, a.hyper);
  stream.wait();
  a.g.spec.dtype == DType::f64 ? detail::run_sgd<double>(a) : detail::run_sgd<float>(a);
}

}  // namespace lamina::kernels
