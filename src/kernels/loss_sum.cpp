#include "lamina/kernels/loss_sum.hpp"

#include "detail/check.hpp"
#include "detail/math.hpp"
#include "detail/parallel.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

// In row order; the logarithms of a vector of rows at a time.
void run(LossSumArgs const& a) {
  auto const *max = a.max.as<float>(), *sum = a.sum.as<float>(), *target = a.target.as<float>();
  auto const* targets = a.targets.as<std::int32_t>();
  double loss = 0;
  std::int64_t count = 0;
  for_vectors(0, a.targets.spec.count(), [&](std::int64_t i, auto part) {
    Floats const of_sum = log(load(sum + i, part));
    for (int lane = 0; lane < part.count; ++lane) {
      if (targets[i + lane] < 0) continue;
      loss += static_cast<double>(max[i + lane] - target[i + lane]) + static_cast<double>(of_sum[lane]);
      ++count;
    }
  });
  auto* out = a.loss.as<double>();
  bool const add = (a.accumulate & 1) != 0;
  out[0] = (add ? out[0] : 0) + loss;
  out[1] = (add ? out[1] : 0) + static_cast<double>(count);
}

}  // namespace
}  // namespace detail

void loss_sum(device::Stream& stream, LossSumArgs const& a) {
  static std::string const label = "lamina::kernels::loss_sum";
  detail::Check const check{"loss_sum"};
  auto const rows = a.targets.spec.count();
  check.dtype("max", a.max, {DType::f32});
  check.dtype("sum", a.sum, {DType::f32});
  check.dtype("target", a.target, {DType::f32});
  check.dtype("targets", a.targets, {DType::i32});
  check.dtype("loss", a.loss, {DType::f64});
  check.present("targets", a.targets);
  check.count("max", a.max, rows);
  check.count("sum", a.sum, rows);
  check.count("target", a.target, rows);
  check.count("loss", a.loss, 2);
  stream.wait();
  detail::for_each_slot(label, 1, [&](int) { detail::run(a); });
}

}  // namespace lamina::kernels
