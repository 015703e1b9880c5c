#include "lamina/kernels/bench_kernels.hpp"

#include <chrono>
#include <functional>

#include "detail/elementwise.hpp"
#include "lamina/base/text.hpp"
#include "lamina/kernels/activation.hpp"
#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/attention.hpp"
#include "lamina/kernels/bench_gemm.hpp"
#include "lamina/kernels/layer_norm.hpp"
#include "lamina/kernels/square_norm.hpp"

namespace lamina::kernels {
namespace {

using Clock = std::chrono::steady_clock;

/// Median seconds of a call, after one that is not counted.
double time_of(double seconds, std::function<void()> const& call) {
  call();
  std::vector<double> times;
  auto const start = Clock::now();
  do {
    auto const before = Clock::now();
    call();
    times.push_back(std::chrono::duration<double>(Clock::now() - before).count());
  } while (std::chrono::duration<double>(Clock::now() - start).count() < seconds || times.size() < 3);
  std::ranges::sort(times);
  return times[times.size() / 2];
}

/// Memory for operands; values are small and finite so that no kernel meets denormals.
class Operands {
 public:
  TensorRef make(DType dtype, Shape shape, float value = 0.01f) {
    TensorSpec const spec{dtype, shape};
    auto& memory = memory_.emplace_back(static_cast<std::size_t>(spec.bytes() + 63) / 4, 0.0f);
    if (dtype == DType::f32) std::ranges::fill(memory, value);
    return {memory.data(), spec};
  }

 private:
  std::vector<std::vector<float>> memory_;
};

}  // namespace

double measure_stream_gbytes_per_s(double seconds) {
  constexpr std::int64_t count = std::int64_t{16} << 20;
  std::vector<float> x(count, 1.0f), y(count, 0.5f);
  static std::string const label = "lamina::kernels::stream";
  auto const t = time_of(seconds, [&] {
    auto* px = x.data();
    auto const* py = y.data();
    detail::for_each_range(label, count, detail::element_grain, [=](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) px[i] = 0.5f * px[i] + py[i];
    });
  });
  return 12.0 * static_cast<double>(count) / t * 1e-9;
}

std::vector<KernelBenchRow> bench_kernels(double seconds) {
  constexpr std::int64_t rows = 1024, d = 768, ff = 3072, batch = 4, tokens = 256, heads = 12, size = 64;
  double const stream = measure_stream_gbytes_per_s(seconds), peak = measure_peak_gflops(DType::f32, seconds);
  device::Stream compute;
  std::vector<KernelBenchRow> table;
  auto const add = [&](std::string kernel, std::string shape, DType dtype, double flops, double bytes,
                       std::function<void()> const& call) {
    auto const t = time_of(seconds, call);
    auto const gflops = flops / t * 1e-9, gbytes = bytes / t * 1e-9;
    table.push_back(
        {std::move(kernel), std::move(shape), dtype, gflops, gbytes, flops > 0 ? gflops / peak : gbytes / stream});
  };
  table.push_back({"stream", "16 Mi elements", DType::f32, 0, stream, 1});
  table.push_back({"multiply-add", "registers", DType::f32, peak, 0, 1});
  {
    Operands o;
    std::int64_t const n = std::int64_t{16} << 20;
    auto hyper = o.make(DType::f64, {4});
    hyper.as<double>()[0] = 1e-4, hyper.as<double>()[1] = 10, hyper.as<double>()[2] = 1, hyper.as<double>()[3] = 0;
    AdamWArgs const a{.g = o.make(DType::f32, {n}),
                      .p = o.make(DType::f32, {n}),
                      .m = o.make(DType::f32, {n}),
                      .v = o.make(DType::f32, {n}),
                      .hyper = hyper};
    add("adamw", text(n >> 20, " Mi elements"), DType::f32, 0, 28.0 * static_cast<double>(n),
        [&] { adamw(compute, a); });
    std::vector<TensorRef> const g{a.g};
    SquareNormArgs const s{.g = g, .norm = o.make(DType::f64, {2})};
    add("square_norm", text(n >> 20, " Mi elements"), DType::f32, 0, 4.0 * static_cast<double>(n),
        [&] { square_norm(compute, s); });
  }
  for (auto const dtype : {DType::f32, DType::bf16}) {
    Operands o;
    auto const item = static_cast<double>(sizeof_dtype(dtype));
    LayerNormArgs const norm{.x = o.make(DType::f32, {rows, d}),
                             .scale = o.make(DType::f32, {d}),
                             .shift = o.make(DType::f32, {d}),
                             .y = o.make(dtype, {rows, d}),
                             .mean = o.make(DType::f32, {rows}),
                             .rstd = o.make(DType::f32, {rows})};
    add("layer_norm", text("[", rows, ", ", d, "]"), dtype, 0, static_cast<double>(rows * d) * (4 + item),
        [&] { layer_norm(compute, norm); });
    ActivationArgs const g{.z = o.make(dtype, {rows, ff}), .y = o.make(dtype, {rows, ff})};
    add("gelu", text("[", rows, ", ", ff, "]"), dtype, 0, static_cast<double>(rows * ff) * 2 * item,
        [&] { gelu(compute, g); });
    ActivationGradArgs const gg{.dy = o.make(dtype, {rows, ff}), .z = g.z, .dz = g.y};
    add("gelu_grad", text("[", rows, ", ", ff, "]"), dtype, 0, static_cast<double>(rows * ff) * 3 * item,
        [&] { gelu_grad(compute, gg); });
    for (auto const t : {tokens, std::int64_t{1024}}) {
      auto const b = t == tokens ? batch : std::int64_t{1};
      Shape const qkv{b, t, 3, heads, size}, y{b, t, heads, size};
      // The formulas of the scratch table in src/graph/README.md, for the larger of the two passes.
      auto const scratch = o.make(DType::u8, {4 * threads() * (4 * ((t + 63) / 64 * 64) * size + 320 * size + 12544)});
      AttentionArgs const a{.qkv = o.make(dtype, qkv),
                            .rng = {},
                            .y = o.make(dtype, y),
                            .lse = o.make(DType::f32, {b, heads, t}),
                            .scratch = scratch};
      // Causal: half of the square; forward 2 products, backward 5.
      auto const product = static_cast<double>(b * heads * t * t * size);
      add("attention", text("B=", b, " T=", t, " N=", heads, " H=", size), dtype, 2 * product, 0,
          [&] { attention(compute, a); });
      AttentionGradArgs const ag{.dy = o.make(dtype, y),
                                 .qkv = a.qkv,
                                 .y = a.y,
                                 .lse = a.lse,
                                 .rng = {},
                                 .dqkv = o.make(dtype, qkv),
                                 .scratch = scratch};
      add("attention_grad", text("B=", b, " T=", t, " N=", heads, " H=", size), dtype, 5 * product, 0,
          [&] { attention_grad(compute, ag); });
    }
  }
  return table;
}

}  // namespace lamina::kernels
