#include "lamina/kernels/layer_norm.hpp"

#include <cmath>

#include "detail/check.hpp"
#include "detail/parallel.hpp"
#include "detail/simd.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

// Rows of D; about 8 Ki elements are worth a thread.
std::int64_t row_grain(std::int64_t columns) {
  return std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(1, columns));
}

struct RowNorm {
  std::int64_t columns;
  float const* scale;
  float const* shift;
  float eps;

  // y from x, whose sum is known: x is in the first-level cache.
  template <class Y>
  void operator()(float const* x, float sum, Y* y, float& mean, float& rstd) const {
    auto const n = static_cast<float>(columns);
    float const m = sum / n;
    float const square = sum_vectors(columns, [&](std::int64_t i, auto part) {
      auto const centred = keep(load(x + i, part) - m, part);
      return centred * centred;
    });
    float const r = 1 / std::sqrt(square / n + eps);
    for_vectors(0, columns, [&](std::int64_t i, auto part) {
      store(y + i, (load(x + i, part) - m) * r * load(scale + i, part) + load(shift + i, part), part);
    });
    mean = m, rstd = r;
  }
};

template <class Y>
void run_layer_norm(LayerNormArgs const& a) {
  static std::string const label = "lamina::kernels::layer_norm";
  auto const columns = a.x.spec.shape.back();
  RowNorm const norm{columns, a.scale.as<float>(), a.shift.as<float>(), static_cast<float>(a.eps)};
  for_each_range(label, a.mean.spec.count(), row_grain(columns), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      auto const* x = a.x.as<float>() + row * columns;
      float const sum = sum_vectors(columns, [&](std::int64_t i, auto part) { return load(x + i, part); });
      norm(x, sum, a.y.as<Y>() + row * columns, a.mean.as<float>()[row], a.rstd.as<float>()[row]);
    }
  });
}

template <class B, class Y>
void run_add_layer_norm(AddLayerNormArgs const& a) {
  static std::string const label = "lamina::kernels::add_layer_norm";
  auto const columns = a.a.spec.shape.back();
  RowNorm const norm{columns, a.scale.as<float>(), a.shift.as<float>(), static_cast<float>(a.eps)};
  for_each_range(label, a.mean.spec.count(), row_grain(columns), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      auto const* x = a.a.as<float>() + row * columns;
      auto const* b = a.b.as<B>() + row * columns;
      auto* r = a.r.as<float>() + row * columns;
      float const sum = sum_vectors(columns, [&](std::int64_t i, auto part) {
        auto const v = load(x + i, part) + load(b + i, part);
        store(r + i, v, part);
        return v;
      });
      norm(r, sum, a.y.as<Y>() + row * columns, a.mean.as<float>()[row], a.rstd.as<float>()[row]);
    }
  });
}

template <class Args>
void check_affine(Check const& check, Args const& a, TensorRef const& x) {
  auto const columns = x.spec.shape.back();
  check.dtype("scale", a.scale, {DType::f32});
  check.dtype("shift", a.shift, {DType::f32});
  check.dtype("mean", a.mean, {DType::f32});
  check.dtype("rstd", a.rstd, {DType::f32});
  check.dtype("y", a.y, {DType::f32, DType::bf16});
  check.count("scale", a.scale, columns);
  check.count("shift", a.shift, columns);
  check.shape("y", a.y, x.spec.shape);
  auto const rows = x.spec.shape.count(0, x.spec.shape.ndim() - 1);
  check.count("mean", a.mean, rows);
  check.count("rstd", a.rstd, rows);
}

}  // namespace
}  // namespace detail

void layer_norm(device::Stream& stream, LayerNormArgs const& a) {
  detail::Check const check{"layer_norm"};
  check.dtype("x", a.x, {DType::f32});
  check.ndim("x", a.x, 1);
  detail::check_affine(check, a, a.x);
  stream.wait();
  a.y.spec.dtype == DType::f32 ? detail::run_layer_norm<float>(a) : detail::run_layer_norm<detail::Bf16>(a);
}

void add_layer_norm(device::Stream& stream, AddLayerNormArgs const& a) {
  detail::Check const check{"add_layer_norm"};
  check.dtype("a", a.a, {DType::f32});
  check.dtype("b", a.b, {DType::f32, DType::bf16});
  check.dtype("r", a.r, {DType::f32});
  check.ndim("a", a.a, 1);
  check.shape("b", a.b, a.a.spec.shape);
  check.shape("r", a.r, a.a.spec.shape);
  detail::check_affine(check, a, a.a);
  stream.wait();
  bool const b32 = a.b.spec.dtype == DType::f32, y32 = a.y.spec.dtype == DType::f32;
  if (b32 && y32) return detail::run_add_layer_norm<float, float>(a);
  if (b32) return detail::run_add_layer_norm<float, detail::Bf16>(a);
  if (y32) return detail::run_add_layer_norm<detail::Bf16, float>(a);
  detail::run_add_layer_norm<detail::Bf16, detail::Bf16>(a);
}

}  // namespace lamina::kernels
