// Our own product beside oneDNN's, with weights as they are, packed before, and packed at every call:
//   perf.kernels --benchmark_filter=product --benchmark_enable_random_interleaving
// The decisions in src/kernels/README.md ("Matrix products") come from here.
#include <memory>

#include "bench.hpp"
#include "kernels/detail/product.hpp"
#include "lamina/kernels/head_loss.hpp"
#include "lamina/kernels/linear.hpp"
#include "lamina/kernels/linear_gelu.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/kernels/runtime.hpp"
#include "lamina/tensor/packed.hpp"

namespace lamina {
namespace {

/// GF/s, once per process; 0 where no loop reaches what products reach.
double peak(DType t) {
  static double const peaks[] = {kernels::measure_peak_gflops(DType::f32, 0.1),
                                 kernels::measure_peak_gflops(DType::bf16, 0.1)};
  return peaks[t == DType::bf16];
}

enum Way { own, library, library_packed, library_packs_each_time };

/// A layer's operands; several weights in turn, so that they come from memory as in a step.
class Layer {
 public:
  explicit Layer(benchmark::State& state)
      : way_(static_cast<Way>(state.range(0))),
        m_(state.range(1)),
        n_(state.range(2)),
        k_(state.range(3)),
        t_(state.range(4) == 16 ? DType::bf16 : DType::f32),
        peak_(peak(t_)),
        choice_(way_ != own),
        x_(t_, {m_, k_}),
        y_(t_, {m_, n_}),
        z_(t_, {m_, n_}),
        dx_(t_, {m_, k_}),
        bias_(DType::f32, {n_}),
        packed_(DType::u8, {packed_weight_bytes(n_, k_, t_)}),
        scratch_(DType::u8, {(std::int64_t{2 * kernels::threads() + 1} << 20) + packed_weight_bytes(n_, k_, t_) +
                             (m_ * n_ + m_ * k_) * sizeof_dtype(t_)}) {
    char const* const names[] = {"own", "library", "library, packed", "library, packs each time"};
    state.SetLabel(names[way_]);
    for (int i = 0; i < weights; ++i) {
      w_.push_back(std::make_unique<bench::Tensor>(t_, Shape{n_, k_}));
      dw_.push_back(std::make_unique<bench::Tensor>(DType::f32, Shape{n_, k_}));
    }
  }

  void forward(bool gelu) {
    auto const w = weight(kernels::PackUse::forward);
    if (gelu) {
      return kernels::linear_gelu(
          stream_, {.x = x_, .w = w, .bias = bias_, .z = z_, .y = y_, .scratch = scratch_, .rows_dims = 1});
    }
    kernels::linear(stream_, {.x = x_, .w = w, .bias = bias_, .y = y_, .scratch = scratch_, .rows_dims = 1});
  }
  void grad_input() {
    auto const w = weight(kernels::PackUse::backward);
    kernels::linear_grad_input(stream_, {.dy = y_, .w = w, .dx = dx_, .scratch = scratch_, .rows_dims = 1});
  }
  void grad_weight(bool bias) {
    kernels::LinearGradWeightArgs a{
        .dy = y_, .x = x_, .dw = *dw_[next()], .dbias = {}, .scratch = scratch_, .rows_dims = 1, .accumulate = 3};
    if (bias) a.dbias = bias_;
    kernels::linear_grad_weight(stream_, a);
  }
  /// 2 m n k, beside the peak for the operands' type.
  void report(benchmark::State& state) const {
    using benchmark::Counter;
    auto const flops = 2.0 * static_cast<double>(m_ * n_ * k_) * static_cast<double>(state.iterations());
    state.counters["flop/s"] = Counter(flops, Counter::kIsRate, Counter::kIs1000);
    if (peak_ > 0) state.counters["of_peak"] = Counter(flops * 1e-9 / peak_, Counter::kIsRate);
  }

 private:
  static constexpr int weights = 4;
  std::size_t next() { return static_cast<std::size_t>(turn_++ % weights); }
  TensorRef weight(kernels::PackUse use) {
    TensorRef const w = *w_[next()];
    if (way_ == own || way_ == library) return w;
    if (way_ == library_packs_each_time || turn_ == 1) {
      kernels::pack_weight(
          stream_,
          {.w = w, .packed = packed_, .scratch = scratch_, .n = n_, .k = k_, .rows = m_, .dtype = t_, .use = use});
    }
    return packed_;
  }

  Way way_;
  std::int64_t m_, n_, k_;
  DType t_;
  double peak_;
  kernels::detail::LibraryChoice choice_;
  bench::Tensor x_, y_, z_, dx_, bias_, packed_, scratch_;
  std::vector<std::unique_ptr<bench::Tensor>> w_, dw_;
  device::Stream stream_;
  int turn_ = 0;
};

void shapes(benchmark::internal::Benchmark* b, std::initializer_list<Way> ways) {
  b->ArgNames({"way", "M", "N", "K", "bits"})->UseRealTime()->MinTime(0.1);
  for (int bits : {32, 16}) {
    for (int m : {256, 1024}) {
      for (auto const& [n, k] : {std::pair{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}}) {
        for (auto const way : ways) b->Args({way, m, n, k, bits});
      }
    }
  }
}
void all_ways(benchmark::internal::Benchmark* b) { shapes(b, {own, library, library_packed, library_packs_each_time}); }
void plain_ways(benchmark::internal::Benchmark* b) { shapes(b, {own, library}); }

void product_forward(benchmark::State& state) {
  Layer layer(state);
  for (auto _ : state) layer.forward(false);
  layer.report(state);
}
BENCHMARK(product_forward)->Apply(all_ways);

void product_forward_gelu(benchmark::State& state) {
  Layer layer(state);
  for (auto _ : state) layer.forward(true);
  layer.report(state);
}
BENCHMARK(product_forward_gelu)->Apply(plain_ways);

void product_grad_input(benchmark::State& state) {
  Layer layer(state);
  for (auto _ : state) layer.grad_input();
  layer.report(state);
}
BENCHMARK(product_grad_input)->Apply(all_ways);

void product_grad_weight(benchmark::State& state) {
  Layer layer(state);
  for (auto _ : state) layer.grad_weight(false);
  layer.report(state);
}
BENCHMARK(product_grad_weight)->Apply(plain_ways);

void product_grad_weight_and_bias(benchmark::State& state) {
  Layer layer(state);
  for (auto _ : state) layer.grad_weight(true);
  layer.report(state);
}
BENCHMARK(product_grad_weight_and_bias)->Apply(plain_ways);

void product_one_row(benchmark::State& state) {  // decoding: the weight is read once
  auto const t = state.range(0) == 16 ? DType::bf16 : DType::f32;
  bench::Tensor x(t, {1, 768}), w(t, {50257, 768}), y(DType::f32, {1, 50257}), scratch(DType::u8, {8 << 20});
  device::Stream stream;
  for (auto _ : state)
    kernels::linear(stream, {.x = x, .w = w, .bias = {}, .y = y, .scratch = scratch, .rows_dims = 1});
  bench::report_bytes(state, w.ref().spec.bytes());
}
BENCHMARK(product_one_row)->ArgName("bits")->Arg(32)->Arg(16)->UseRealTime()->MinTime(0.2);

void product_head_loss(benchmark::State& state) {  // three products of all rows with the vocabulary, and the softmax
  std::int64_t const m = state.range(1), v = 50257, d = 768;
  auto const t = state.range(2) == 16 ? DType::bf16 : DType::f32;
  auto const limit = 1e9 * peak(t);
  kernels::detail::LibraryChoice const choice(state.range(0) == library);
  auto const scratch_bytes = (std::int64_t{2 * kernels::threads() + 1} << 20) + 4 * m * (v + 1024 + d) + (1 << 20);
  bench::Tensor x(t, {m, d}), w(t, {v, d}), dx(t, {m, d}), dw(DType::f32, {v, d}), targets(DType::i32, {m}),
      loss(DType::f64, {2}), scratch(DType::u8, {scratch_bytes});
  device::Stream stream;
  for (auto _ : state) {
    kernels::head_loss(stream, {.x = x,
                                .w = w,
                                .bias = {},
                                .targets = targets,
                                .loss = loss,
                                .dx = dx,
                                .dw = dw,
                                .dbias = {},
                                .scratch = scratch,
                                .accumulate = 5});
  }
  auto const flops = 6.0 * static_cast<double>(m * v * d) * static_cast<double>(state.iterations());
  if (limit > 0) state.counters["of_peak"] = benchmark::Counter(flops / limit, benchmark::Counter::kIsRate);
}
BENCHMARK(product_head_loss)
    ->ArgNames({"way", "M", "bits"})
    ->ArgsProduct({{own, library}, {256, 1024}, {32, 16}})
    ->UseRealTime()
    ->MinTime(0.5);

}  // namespace
}  // namespace lamina
