#include "bench.hpp"
#include "lamina/kernels/layer_norm.hpp"

namespace lamina {
namespace {

struct Operands {
  Operands(std::int64_t rows, std::int64_t columns)
      : x(DType::f32, {rows, columns}),
        b(DType::f32, {rows, columns}),
        r(DType::f32, {rows, columns}),
        y(DType::f32, {rows, columns}),
        scale(DType::f32, {columns}),
        shift(DType::f32, {columns}),
        mean(DType::f32, {rows}),
        rstd(DType::f32, {rows}),
        scratch(DType::u8, {8 * 64 * columns}) {}
  bench::Tensor x, b, r, y, scale, shift, mean, rstd, scratch;
  device::Stream stream;
};

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rows", "D"})->Args({1024, 768})->Args({8192, 768})->Args({1024, 4096})->UseRealTime()->MinTime(0.2);
}

void layer_norm(benchmark::State& state) {  // x in, y out; parameters and statistics ignored
  Operands o(state.range(0), state.range(1));
  for (auto _ : state) {
    kernels::layer_norm(o.stream,
                        {.x = o.x, .scale = o.scale, .shift = o.shift, .y = o.y, .mean = o.mean, .rstd = o.rstd});
  }
  bench::report_bytes(state, 2 * o.x.ref().spec.bytes());
}
BENCHMARK(layer_norm)->Apply(shapes);

void add_layer_norm(benchmark::State& state) {  // a and b in, r and y out
  Operands o(state.range(0), state.range(1));
  for (auto _ : state) {
    kernels::add_layer_norm(
        o.stream,
        {.a = o.x, .b = o.b, .scale = o.scale, .shift = o.shift, .r = o.r, .y = o.y, .mean = o.mean, .rstd = o.rstd});
  }
  bench::report_bytes(state, 4 * o.x.ref().spec.bytes());
}
BENCHMARK(add_layer_norm)->Apply(shapes);

void layer_norm_grad(benchmark::State& state) {  // dy, x and residual in, dx out
  Operands o(state.range(0), state.range(1));
  for (auto _ : state) {
    kernels::layer_norm_grad(o.stream, {.dy = o.y,
                                        .x = o.x,
                                        .scale = o.scale,
                                        .mean = o.mean,
                                        .rstd = o.rstd,
                                        .residual = o.b,
                                        .dx = o.r,
                                        .dscale = o.shift,
                                        .dshift = o.shift,
                                        .scratch = o.scratch});
  }
  bench::report_bytes(state, 4 * o.x.ref().spec.bytes());
}
BENCHMARK(layer_norm_grad)->Apply(shapes);

}  // namespace
}  // namespace lamina
