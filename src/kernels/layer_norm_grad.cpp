#include "detail/check.hpp"
#include "detail/parallel.hpp"
#include "detail/simd.hpp"
#include "lamina/kernels/layer_norm.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

// How many blocks the rows are cut into: by R alone, so that the sums have one order whatever the threads.
std::int64_t row_blocks(std::int64_t rows) { return std::min<std::int64_t>(64, (rows + 15) / 16); }

template <class Y>
struct LayerNormGrad {
  LayerNormGradArgs const& a;
  std::int64_t columns;

  // dx of one row; adds the row's share to the block's partial sums.
  void row(std::int64_t r, float* dscale, float* dshift) const {
    auto const* dy = a.dy.as<Y>() + r * columns;
    auto const* x = a.x.as<float>() + r * columns;
    auto const* scale = a.scale.as<float>();
    auto const* residual = a.residual ? a.residual.as<float>() + r * columns : nullptr;
    auto* dx = a.dx.as<float>() + r * columns;
    float const mean = a.mean.as<float>()[r], rstd = a.rstd.as<float>()[r];
    Floats g0{}, g1{}, gx0{}, gx1{};
    auto const sums = [&](std::int64_t i, auto part, Floats& g_sum, Floats& gx_sum) {
      auto const d = load(dy + i, part);
      auto const xhat = (load(x + i, part) - mean) * rstd;  // lanes beyond the end: d is 0 there
      auto const dx_hat = d * xhat;
      auto const s = load(scale + i, part);
      g_sum += d * s;
      gx_sum += dx_hat * s;
      store(dscale + i, load(dscale + i, part) + dx_hat, part);
      store(dshift + i, load(dshift + i, part) + d, part);
    };
    std::int64_t constexpr two = 2 * lanes;
    std::int64_t i = 0;
    for (; i + two <= columns; i += two) {
      sums(i, Full{}, g0, gx0);
      sums(i + lanes, Full{}, g1, gx1);
    }
    for_vectors(i, columns, [&](std::int64_t j, auto part) { sums(j, part, g0, gx0); });
    auto const n = static_cast<float>(columns);
    float const mean_g = sum_lanes(g0 + g1) / n, mean_gx = sum_lanes(gx0 + gx1) / n;
    auto const write = [&](auto with_residual) {
      for_vectors(0, columns, [&](std::int64_t j, auto part) {
        auto const xhat = (load(x + j, part) - mean) * rstd;
        auto v = rstd * (load(dy + j, part) * load(scale + j, part) - mean_g - xhat * mean_gx);
        if constexpr (with_residual) v += load(residual + j, part);
        store(dx + j, v, part);
      });
    };
    residual ? write(std::true_type{}) : write(std::false_type{});
  }
};

template <class Y>
void run(LayerNormGradArgs const& a, std::int64_t rows) {
  static std::string const label = "lamina::kernels::layer_norm_grad";
  static std::string const sum_label = "lamina::kernels::layer_norm_grad_sum";
  auto const columns = a.x.spec.shape.back(), blocks = row_blocks(rows);
  auto* const partial = a.scratch.as<float>();
  LayerNormGrad<Y> const grad{a, columns};
  for_each_task(label, blocks, [&](std::int64_t block, int) {
    auto* dscale = partial + block * 2 * columns;
    std::fill(dscale, dscale + 2 * columns, 0.f);
    for (auto r = rows * block / blocks; r < rows * (block + 1) / blocks; ++r) grad.row(r, dscale, dscale + columns);
  });
  for_each_range(sum_label, columns, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (int which = 0; which < 2; ++which) {
      auto* out = (which == 0 ? a.dscale : a.dshift).as<float>();
      bool const add = ((a.accumulate >> (which + 1)) & 1) != 0;
      for_vectors(begin, end, [&](std::int64_t i, auto part) {
        Floats sum{};
        for (std::int64_t block = 0; block < blocks; ++block) {
          sum += load(partial + (block * 2 + which) * columns + i, part);
        }
        store(out + i, add ? load(out + i, part) + sum : sum, part);
      });
    }
  });
}

}  // namespace
}  // namespace detail

void layer_norm_grad(device::Stream& stream, LayerNormGradArgs const& a) {
  detail::Check const check{"layer_norm_grad"};
  check.dtype("dy", a.dy, {DType::f32, DType::bf16});
  check.ndim("x", a.x, 1);
  auto const columns = a.x.spec.shape.back(), rows = a.x.spec.shape.count(0, a.x.spec.shape.ndim() - 1);
  check.shape("dy", a.dy, a.x.spec.shape);
  check.shape("dx", a.dx, a.x.spec.shape);
  if (a.residual) check.shape("residual", a.residual, a.x.spec.shape);
  check.count("scale", a.scale, columns);
  check.count("dscale", a.dscale, columns);
  check.count("dshift", a.dshift, columns);
  check.count("mean", a.mean, rows);
  check.count("rstd", a.rstd, rows);
  auto const f32 = [&](std::string_view name, TensorRef const& t) { check.dtype(name, t, {DType::f32}); };
  f32("x", a.x), f32("scale", a.scale), f32("mean", a.mean), f32("rstd", a.rstd), f32("residual", a.residual);
  f32("dx", a.dx), f32("dscale", a.dscale), f32("dshift", a.dshift);
  check.scratch(a.scratch, 8 * columns * detail::row_blocks(rows));
  stream.wait();
  a.dy.spec.dtype == DType::f32 ? detail::run<float>(a, rows) : detail::run<detail::Bf16>(a, rows);
}

}  // namespace lamina::kernels
