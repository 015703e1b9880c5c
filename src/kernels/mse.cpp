#include "lamina/kernels/mse.hpp"

#include <algorithm>

#include "detail/check.hpp"
#include "detail/parallel.hpp"
#include "detail/simd.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

// B samples, N outputs of each

void check_samples(Check const& check, TensorRef const& x, TensorRef const& y, TensorRef const& counted) {
  check.ndim("x", x, 1);
  check.dtype("x", x, {DType::f32});
  check.dtype("y", y, {DType::f32});
  check.shape("y", y, x.spec.shape);
  check.dtype("counted", counted, {DType::i32});
  check.count("counted", counted, x.spec.shape[0]);
}

std::int64_t outputs_of(TensorRef const& x) { return x.spec.shape.count(1, x.spec.shape.ndim()); }

void run(MseArgs const& a) {
  auto const outputs = outputs_of(a.x);
  double loss = 0, count = 0;
  for (std::int64_t b = 0; b < a.x.spec.shape[0]; ++b) {
    if (a.counted.as<std::int32_t>()[b] < 0) continue;
    auto const *x = a.x.as<float>() + b * outputs, *y = a.y.as<float>() + b * outputs;
    double sum = 0;
    for (std::int64_t n = 0; n < outputs; ++n) {
      double const d = static_cast<double>(x[n]) - static_cast<double>(y[n]);
      sum += d * d;
    }
    loss += sum / static_cast<double>(outputs);
    count += 1;
  }
  auto* out = a.loss.as<double>();
  bool const add = (a.accumulate & 1) != 0;
  out[0] = (add ? out[0] : 0) + loss;
  out[1] = (add ? out[1] : 0) + count;
}

}  // namespace
}  // namespace detail

void mse(device::Stream& stream, MseArgs const& a) {
  static std::string const label = "lamina::kernels::mse";
  detail::Check const check{"mse"};
  detail::check_samples(check, a.x, a.y, a.counted);
  check.dtype("loss", a.loss, {DType::f64});
  check.count("loss", a.loss, 2);
  stream.wait();
  detail::for_each_slot(label, 1, [&](int) { detail::run(a); });
}

void mse_grad(device::Stream& stream, MseGradArgs const& a) {
  static std::string const label = "lamina::kernels::mse_grad";
  detail::Check const check{"mse_grad"};
  detail::check_samples(check, a.x, a.y, a.counted);
  check.dtype("dx", a.dx, {DType::f32});
  check.shape("dx", a.dx, a.x.spec.shape);
  stream.wait();
  auto const outputs = detail::outputs_of(a.x);
  auto const scale = static_cast<float>(2.0 / static_cast<double>(std::max<std::int64_t>(1, outputs)));
  detail::for_each_range(label, a.x.spec.shape[0], 4, [&](std::int64_t begin, std::int64_t end) {
    for (auto b = begin; b < end; ++b) {
      auto const *x = a.x.as<float>() + b * outputs, *y = a.y.as<float>() + b * outputs;
      auto* dx = a.dx.as<float>() + b * outputs;
      if (a.counted.as<std::int32_t>()[b] < 0) {
        std::fill_n(dx, outputs, 0.f);
        continue;
      }
      detail::for_vectors(0, outputs, [&](std::int64_t n, auto part) {
        detail::store(dx + n, (detail::load(x + n, part) - detail::load(y + n, part)) * scale, part);
      });
    }
  });
}

}  // namespace lamina::kernels
