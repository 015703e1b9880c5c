#include "lamina/kernels/cross_entropy.hpp"

#include <algorithm>
#include <cmath>

#include "detail/ids.hpp"
#include "detail/parallel.hpp"
#include "detail/math.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels {
namespace detail {

// R rows, C classes

void require_classes(Check const& check, TensorRef const& x, TensorRef const& targets) {
  check.ndim("x", x, 1);
  check.dtype("x", x, {DType::f32});
  check.dtype("targets", targets, {DType::i32});
  auto const classes = x.spec.shape.back();
  check.count("targets", targets, x.spec.shape.count(0, x.spec.shape.ndim() - 1));
  auto const* target = targets.as<std::int32_t>();
  for (std::int64_t r = 0; r < targets.spec.count(); ++r) {
    if (target[r] < classes) continue;
    fail({.code = text("kernels.", check.op, ".target"),
          .subject = text(check.op, ": target of row ", r),
          .found = text("class ", target[r]),
          .expected = text("below ", classes, ", or negative for a row that is not counted"),
          .fix = "give the last layer as many outputs as the data have classes"});
  }
}

namespace {

/// Largest logit and sum of exp(logit - largest). The largest of a row with a NaN may be any of the others: the sum is
/// NaN.
struct RowSums {
  float max, sum;
};
RowSums sums_of(float const* x, std::int64_t classes) {
  float max = x[0];
  for (std::int64_t c = 1; c < classes; ++c) max = x[c] > max ? x[c] : max;
  auto const e = [&](std::int64_t c, auto part) { return keep(exp(load(x + c, part) - max), part); };
  return {max, sum_vectors(classes, e)};
}

void add_to(TensorRef const& pair, double first, double second, int accumulate) {
  auto* out = pair.as<double>();
  bool const add = (accumulate & 1) != 0;
  out[0] = (add ? out[0] : 0) + first;
  out[1] = (add ? out[1] : 0) + second;
}

void run(CrossEntropyArgs const& a) {
  auto const classes = a.x.spec.shape.back();
  auto const* targets = a.targets.as<std::int32_t>();
  double loss = 0, count = 0;
  for (std::int64_t r = 0; r < a.targets.spec.count(); ++r) {
    if (targets[r] < 0) continue;
    auto const* x = a.x.as<float>() + r * classes;
    auto const row = sums_of(x, classes);
    loss +=
        std::log(static_cast<double>(row.sum)) + (static_cast<double>(row.max) - static_cast<double>(x[targets[r]]));
    count += 1;
  }
  add_to(a.loss, loss, count, a.accumulate);
}

void gradient_of_row(float const* x, float* dx, std::int64_t classes, std::int32_t target) {
  if (target < 0) {
    std::fill_n(dx, classes, 0.f);
    return;
  }
  auto const row = sums_of(x, classes);
  for_vectors(0, classes,
              [&](std::int64_t c, auto part) { store(dx + c, exp(load(x + c, part) - row.max) / row.sum, part); });
  dx[target] -= 1.f;
}

bool is_hit(float const* x, std::int64_t classes, std::int32_t target) {
  bool hit = true;
  for (std::int64_t c = 0; c < classes; ++c) hit = hit && (c < target ? x[c] < x[target] : x[c] <= x[target]);
  return hit;
}

}  // namespace
}  // namespace detail

void cross_entropy(device::Stream& stream, CrossEntropyArgs const& a) {
  static std::string const label = "lamina::kernels::cross_entropy";
  detail::Check const check{"cross_entropy"};
  check.dtype("loss", a.loss, {DType::f64});
  check.count("loss", a.loss, 2);
  stream.wait();
  detail::require_classes(check, a.x, a.targets);
  detail::for_each_slot(label, 1, [&](int) { detail::run(a); });
}

void cross_entropy_grad(device::Stream& stream, CrossEntropyGradArgs const& a) {
  static std::string const label = "lamina::kernels::cross_entropy_grad";
  detail::Check const check{"cross_entropy_grad"};
  check.dtype("dx", a.dx, {DType::f32});
  check.shape("dx", a.dx, a.x.spec.shape);
  stream.wait();
  detail::require_classes(check, a.x, a.targets);
  auto const classes = a.x.spec.shape.back();
  detail::for_each_range(label, a.targets.spec.count(), 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = begin; r < end; ++r) {
      detail::gradient_of_row(a.x.as<float>() + r * classes, a.dx.as<float>() + r * classes, classes,
                              a.targets.as<std::int32_t>()[r]);
    }
  });
}

void accuracy(device::Stream& stream, AccuracyArgs const& a) {
  static std::string const label = "lamina::kernels::accuracy";
  detail::Check const check{"accuracy"};
  check.dtype("hits", a.hits, {DType::f64});
  check.count("hits", a.hits, 2);
  stream.wait();
  detail::require_classes(check, a.x, a.targets);
  detail::for_each_slot(label, 1, [&](int) {
    auto const classes = a.x.spec.shape.back();
    auto const* targets = a.targets.as<std::int32_t>();
    double hits = 0, count = 0;
    for (std::int64_t r = 0; r < a.targets.spec.count(); ++r) {
      if (targets[r] < 0) continue;
      hits += detail::is_hit(a.x.as<float>() + r * classes, classes, targets[r]) ? 1 : 0;
      count += 1;
    }
    detail::add_to(a.hits, hits, count, a.accumulate);
  });
}

}  // namespace lamina::kernels
