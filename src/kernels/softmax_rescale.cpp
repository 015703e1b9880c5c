#include "lamina/kernels/softmax_rescale.hpp"

#include "detail/elementwise.hpp"
#include "detail/math.hpp"

namespace lamina::kernels {

void softmax_rescale(device::Stream& stream, SoftmaxRescaleArgs const& a) {
  using namespace detail;
  static std::string const label = "lamina::kernels::softmax_rescale";
  Check const check{"softmax_rescale"};
  check.dtype("sum", a.sum, {DType::f32});
  check.present("sum", a.sum);
  for (auto const& [name, t] : {std::pair{"own_max", &a.own_max}, std::pair{"max", &a.max}, std::pair{"y", &a.y}}) {
    check.dtype(name, *t, {DType::f32});
    check.shape(name, *t, a.sum.spec.shape);
  }
  stream.wait();
  auto const *sum = a.sum.as<float>(), *own_max = a.own_max.as<float>(), *max = a.max.as<float>();
  auto* const y = a.y.as<float>();
  for_each_range(label, a.sum.spec.count(), element_grain, [=](std::int64_t begin, std::int64_t end) {
    for_vectors(begin, end, [=](std::int64_t i, auto part) {
      store(y + i, load(sum + i, part) * exp(load(own_max + i, part) - load(max + i, part)), part);
    });
  });
}

}  // namespace lamina::kernels
