#pragma once

#include <benchmark/benchmark.h>

#include <cstring>

#include "lamina/device/arena.hpp"
#include "lamina/device/stream.hpp"
#include "lamina/kernels/bench_gemm.hpp"
#include "lamina/kernels/bench_kernels.hpp"
#include "lamina/tensor/tensor.hpp"

namespace lamina::bench {

/// A tensor with memory of its own: huge pages, touched, small numbers.
class Tensor {
 public:
  Tensor(DType dtype, Shape shape) : spec_{dtype, shape}, memory_(spec_.bytes() + 64) {
    auto const count = spec_.count();
    if (dtype == DType::f32) {
      for (std::int64_t i = 0; i < count; ++i) ref().as<float>()[i] = static_cast<float>(i % 97) / 97 - 0.4f;
    } else if (dtype == DType::bf16) {
      for (std::int64_t i = 0; i < count; ++i) {
        ref().as<std::uint16_t>()[i] = static_cast<std::uint16_t>(0x3f00 + i % 97);
      }
    } else {
      std::memset(memory_.at(0), 0, static_cast<std::size_t>(spec_.bytes()));
    }
  }
  TensorRef ref() { return {memory_.at(0), spec_}; }
  operator TensorRef() { return ref(); }

 private:
  TensorSpec spec_;
  device::Arena memory_;
};

/// Measured once per process on the kernels' threads, so that every figure stands beside this machine's limit.
inline double fma_flops_per_s() {
  static double const limit = 1e9 * kernels::measure_peak_gflops(DType::f32, 0.1);
  return limit;
}
inline double stream_bytes_per_s() {
  static double const limit = 1e9 * kernels::measure_stream_gbytes_per_s(0.1);
  return limit;
}

/// "of_limit" beside the achieved rate. What counts as work is said where this is called.
inline void report_bytes(benchmark::State& state, std::int64_t bytes) {
  using benchmark::Counter;
  auto const total = static_cast<double>(bytes) * static_cast<double>(state.iterations());
  state.counters["bytes/s"] = Counter(total, Counter::kIsRate, Counter::kIs1000);
  state.counters["of_limit"] = Counter(total / stream_bytes_per_s(), Counter::kIsRate);
}
inline void report_flops(benchmark::State& state, std::int64_t flops) {
  using benchmark::Counter;
  auto const total = static_cast<double>(flops) * static_cast<double>(state.iterations());
  state.counters["flop/s"] = Counter(total, Counter::kIsRate, Counter::kIs1000);
  state.counters["of_limit"] = Counter(total / fma_flops_per_s(), Counter::kIsRate);
}

}  // namespace lamina::bench
