#include "lamina/kernels/sgd.hpp"

#include "detail/elementwise.hpp"
#include "detail/optimizer.hpp"

namespace lamina::kernels {

void sgd(device::Stream& stream, SgdArgs const& a) {
  using namespace detail;
  static std::string const label = "lamina::kernels::sgd";
  Check const check{"sgd"};
  bool const with_momentum = a.momentum != 0;
  check_state(check, a.g, {{"p", &a.p}, {"m", with_momentum ? &a.m : &a.p}}, a.hyper);
  stream.wait();
  auto const* hyper = a.hyper.as<double>();
  if (hyper[3] != 0) return;
  auto const lr = static_cast<float>(hyper[0]), scale = static_cast<float>(hyper[2]);
  auto const momentum = static_cast<float>(a.momentum), decay = static_cast<float>(a.weight_decay);
  bool const first = hyper[1] <= 1;
  auto const* g = a.g.as<float>();
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

}  // namespace lamina::kernels
