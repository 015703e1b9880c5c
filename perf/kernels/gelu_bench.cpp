#include "bench.hpp"
#include "lamina/kernels/activation.hpp"

namespace lamina {
namespace {

void gelu(benchmark::State& state) {  // z in, y out
  auto const dtype = state.range(1) == 16 ? DType::bf16 : DType::f32;
  bench::Tensor z(dtype, {state.range(0), 3072}), y(dtype, {state.range(0), 3072});
  device::Stream stream;
  for (auto _ : state) kernels::gelu(stream, {.z = z, .y = y});
  bench::report_bytes(state, 2 * z.ref().spec.bytes());
}
BENCHMARK(gelu)
    ->ArgNames({"rows", "bits"})
    ->Args({64, 32})
    ->Args({1024, 32})
    ->Args({1024, 16})
    ->UseRealTime()
    ->MinTime(0.2);

void gelu_grad(benchmark::State& state) {  // dy and z in, dz out
  auto const dtype = state.range(1) == 16 ? DType::bf16 : DType::f32;
  bench::Tensor z(dtype, {state.range(0), 3072}), dy(dtype, {state.range(0), 3072}), dz(dtype, {state.range(0), 3072});
  device::Stream stream;
  for (auto _ : state) kernels::gelu_grad(stream, {.dy = dy, .z = z, .dz = dz});
  bench::report_bytes(state, 3 * z.ref().spec.bytes());
}
BENCHMARK(gelu_grad)->ArgNames({"rows", "bits"})->Args({1024, 32})->Args({1024, 16})->UseRealTime()->MinTime(0.2);

}  // namespace
}  // namespace lamina
