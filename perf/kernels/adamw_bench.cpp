#include "bench.hpp"
#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/square_norm.hpp"

namespace lamina {
namespace {

void adamw(benchmark::State& state) {  // g in; p, m, v in and out: 28 bytes an element
  auto const n = state.range(0);
  bench::Tensor g(DType::f32, {n}), p(DType::f32, {n}), m(DType::f32, {n}), v(DType::f32, {n}), hyper(DType::f64, {4});
  auto* h = hyper.ref().as<double>();
  h[0] = 1e-4, h[1] = 10, h[2] = 1;
  device::Stream stream;
  for (auto _ : state) kernels::adamw(stream, {.g = g, .p = p, .m = m, .v = v, .hyper = hyper});
  bench::report_bytes(state, 28 * n);
}
BENCHMARK(adamw)->Arg(768 * 3072)->Arg(50257 * 768)->UseRealTime()->MinTime(0.3);

void square_norm(benchmark::State& state) {  // g in: 4 bytes an element
  auto const n = state.range(0);
  bench::Tensor g(DType::f32, {n}), norm(DType::f64, {2});
  TensorRef const all[] = {g};
  device::Stream stream;
  for (auto _ : state) kernels::square_norm(stream, {.g = all, .norm = norm});
  bench::report_bytes(state, 4 * n);
}
BENCHMARK(square_norm)->Arg(768 * 3072)->Arg(50257 * 768)->UseRealTime()->MinTime(0.3);

}  // namespace
}  // namespace lamina
