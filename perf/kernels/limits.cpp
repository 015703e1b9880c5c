#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "bench.hpp"
#include "lamina/kernels/runtime.hpp"

namespace lamina::bench {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#else
constexpr int lanes = 8;
#endif
typedef float Floats __attribute__((vector_size(4 * lanes)));

double seconds_of(auto const& f) {
  auto const start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// f(thread) on the kernels' number of threads.
void on_all_threads(auto const& f) {
  std::vector<std::jthread> threads;
  for (int t = 1; t < kernels::threads(); ++t) threads.emplace_back([&f, t] { f(t); });
  f(0);
}

constexpr std::int64_t rounds = 4'000'000;

void multiply_add() {
  Floats a[10], x = Floats{} + 0.999f, y = Floats{} + 1e-3f;
  for (auto& v : a) {
    v = Floats{} + 1.f;
    asm volatile("" : "+v"(v));  // or the compiler sees that all are equal
  }
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 10
    for (auto& v : a) v = v * x + y;
    asm volatile("" : "+v"(x), "+v"(y));
  }
  for (auto& v : a) benchmark::DoNotOptimize(v);
}

}  // namespace

double fma_flops_per_s() {
  static double const best = [] {
    double seconds = 1e9;
    for (int i = 0; i < 5; ++i) {
      seconds = std::min(seconds, seconds_of([] { on_all_threads([](int) { multiply_add(); }); }));
    }
    return static_cast<double>(rounds * 10 * lanes * 2 * kernels::threads()) / seconds;
  }();
  return best;
}

double stream_bytes_per_s() {
  static double const best = [] {
    std::int64_t const n = 12 << 20;
    Tensor a(DType::f32, {n}), b(DType::f32, {n}), c(DType::f32, {n}), d(DType::f32, {n});
    float *pa = a.ref().as<float>(), *pb = b.ref().as<float>(), *pc = c.ref().as<float>(), *pd = d.ref().as<float>();
    double seconds = 1e9;
    auto const pass = [&](int thread) {
      auto const end = n * (thread + 1) / kernels::threads();
#pragma GCC ivdep
      for (auto i = n * thread / kernels::threads(); i < end; ++i) pa[i] += pb[i] + pc[i] * pd[i];
    };
    for (int i = 0; i < 5; ++i) seconds = std::min(seconds, seconds_of([&] { on_all_threads(pass); }));
    return static_cast<double>(n * 5 * 4) / seconds;
  }();
  return best;
}

}  // namespace lamina::bench
