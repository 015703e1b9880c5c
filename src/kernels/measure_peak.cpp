#include <algorithm>
#include <chrono>

#include "detail/micro_kernel.hpp"
#include "detail/parallel.hpp"
#include "detail/product.hpp"
#include "lamina/kernels/bench_gemm.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

/// The compiler must neither know nor move the value; it stays in its register.
inline void keep_in_register(Floats& v) {
#if defined(__AVX512F__)
  asm volatile("" : "+v"(v));
#elif defined(__x86_64__)
  asm volatile("" : "+x"(v));
#else
  asm volatile("" : "+w"(v));
#endif
}

constexpr int chains = 12;  // more than latency times issue width of any core

template <class Word>
void multiply_add_loop(std::int64_t rounds) {
  Floats a = splat(1.f), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a;
  Floats x = splat(0.25f);
  keep_in_register(x);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (auto* const sum : {&a, &b, &c, &d, &e, &f, &g, &h, &i, &j, &k, &l}) {
      *sum = Word::multiply_add(*sum, 0x3f803f80u, x);
      keep_in_register(*sum);
    }
  }
}

}  // namespace
}  // namespace detail

double measure_peak_gflops(DType dtype, double seconds) {
  using Clock = std::chrono::steady_clock;
  static std::string const label = "lamina::kernels::peak";
  bool const bf16 = dtype == DType::bf16;
  if (bf16 && (!detail::has_bf16_dot || detail::uses_library(dtype))) return 0;
  constexpr std::int64_t rounds = 100'000;
  double best = 0;
  auto const start = Clock::now();
  do {
    auto const before = Clock::now();
    detail::for_each_slot(label, threads(), [&](int) {
#if defined(__AVX512BF16__)
      if (bf16) return detail::multiply_add_loop<detail::WordBf16>(rounds);
#endif
      detail::multiply_add_loop<detail::WordF32>(rounds);
    });
    auto const t = std::chrono::duration<double>(Clock::now() - before).count();
    auto const flops = 2.0 * (bf16 ? 2 : 1) * detail::lanes * detail::chains * static_cast<double>(rounds) * threads();
    best = std::max(best, flops / t * 1e-9);
  } while (std::chrono::duration<double>(Clock::now() - start).count() < seconds);
  return best;
}

}  // namespace lamina::kernels
