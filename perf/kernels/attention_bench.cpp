#include "bench.hpp"
#include "lamina/kernels/attention.hpp"

namespace lamina {
namespace {

struct Operands {
  explicit Operands(benchmark::State const& state)
      : T(state.range(0)),
        dtype(state.range(1) == 16 ? DType::bf16 : DType::f32),
        qkv(dtype, {B, T, 3, N, H}),
        dqkv(dtype, {B, T, 3, N, H}),
        y(dtype, {B, T, N, H}),
        lse(DType::f32, {B, N, T}),
        scratch(DType::u8, {64 << 20}) {}
  static constexpr std::int64_t B = 2, N = 12, H = 64;
  std::int64_t T;
  DType dtype;
  bench::Tensor qkv, dqkv, y, lse, scratch;
  device::Stream stream;

  // One product of T x T x H per sample and head; the causal half counts.
  std::int64_t product() const { return B * N * T * T * H; }
  void forward() { kernels::attention(stream, {.qkv = qkv, .rng = {}, .y = y, .lse = lse, .scratch = scratch}); }
  void backward() {
    kernels::attention_grad(stream,
                            {.dy = y, .qkv = qkv, .y = y, .lse = lse, .rng = {}, .dqkv = dqkv, .scratch = scratch});
  }
};

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"T", "bits"})->UseRealTime()->MinTime(0.2);
  for (int T : {64, 256, 1024}) b->Args({T, 32})->Args({T, 16});
}

void attention(benchmark::State& state) {  // two products
  Operands o(state);
  for (auto _ : state) o.forward();
  bench::report_flops(state, 2 * o.product());
}
BENCHMARK(attention)->Apply(shapes);

void attention_grad(benchmark::State& state) {  // five products
  Operands o(state);
  o.forward();
  for (auto _ : state) o.backward();
  bench::report_flops(state, 5 * o.product());
}
BENCHMARK(attention_grad)->Apply(shapes);

void attention_both(benchmark::State& state) {  // the goal of performance.md: seven products
  Operands o(state);
  for (auto _ : state) o.forward(), o.backward();
  bench::report_flops(state, 7 * o.product());
}
BENCHMARK(attention_both)->ArgNames({"T", "bits"})->Args({1024, 32})->Args({1024, 16})->UseRealTime()->MinTime(0.3);

}  // namespace
}  // namespace lamina
