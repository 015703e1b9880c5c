#include "bench.hpp"
#include "lamina/kernels/embedding.hpp"

namespace lamina {
namespace {

void embedding_grad(benchmark::State& state) {  // dx in; one row of the table in and out per token, one of positions
  std::int64_t const B = 4, T = state.range(0), V = 50257, D = 768;
  bench::Tensor dx(DType::f32, {B, T, D}), ids(DType::i32, {B, T}), dtable(DType::f32, {V, D});
  bench::Tensor dpositions(DType::f32, {1024, D});
  for (std::int64_t i = 0; i < B * T; ++i) ids.ref().as<std::int32_t>()[i] = static_cast<std::int32_t>(i * 7919 % V);
  device::Stream stream;
  for (auto _ : state) {
    kernels::embedding_grad(stream,
                            {.dx = dx, .ids = ids, .dtable = dtable, .dpositions = dpositions, .accumulate = 3});
  }
  bench::report_bytes(state, (3 * B + 2) * T * D * 4);
}
BENCHMARK(embedding_grad)->ArgName("T")->Arg(64)->Arg(256)->UseRealTime()->MinTime(0.2);

}  // namespace
}  // namespace lamina
