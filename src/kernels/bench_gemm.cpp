#include "lamina/kernels/bench_gemm.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <utility>

#include "detail/product.hpp"
#include "lamina/device/arena.hpp"
#include "lamina/kernels/linear.hpp"
#include "lamina/kernels/linear_grad_input.hpp"
#include "lamina/kernels/linear_grad_weight.hpp"
#include "lamina/kernels/pack_weight.hpp"
#include "lamina/kernels/runtime.hpp"
#include "lamina/tensor/packed.hpp"

namespace lamina::kernels {
namespace {

using Clock = std::chrono::steady_clock;

/// A tensor on huge pages, as a program's buffers are.
struct Tensor {
  device::Arena memory;
  TensorRef ref;

  Tensor(DType dtype, Shape shape) : memory(TensorSpec{dtype, shape}.bytes()), ref{memory.at(0), {dtype, shape}} {}
};

/// The operands of a layer's three products.
class Layer {
 public:
  Layer(std::int64_t m, std::int64_t n, std::int64_t k, DType t)
      : x_(t, {m, k}),
        y_(t, {m, n}),
        w_(t, {n, k}),
        dx_(t, {m, k}),
        dw_(DType::f32, {n, k}),
        scratch_(DType::u8, {(std::int64_t{2 * threads() + 1} << 20) + packed_weight_bytes(n, k, t) +
                             (m * n + m * k) * sizeof_dtype(t)}),
        forward_(w_.ref),
        backward_(w_.ref) {
    fill(x_.ref), fill(y_.ref), fill(w_.ref), fill(dx_.ref), fill(dw_.ref);
    if (!detail::uses_library(t)) return;
    forward_ = pack(forward_packed_, PackUse::forward), backward_ = pack(backward_packed_, PackUse::backward);
  }

  void forward() {
    linear(stream_, {.x = x_.ref, .w = forward_, .bias = {}, .y = y_.ref, .scratch = scratch_.ref, .rows_dims = 1});
  }
  void grad_input() {
    linear_grad_input(stream_, {.dy = y_.ref, .w = backward_, .dx = dx_.ref, .scratch = scratch_.ref, .rows_dims = 1});
  }
  void grad_weight() {
    linear_grad_weight(stream_, {.dy = y_.ref,
                                 .x = x_.ref,
                                 .dw = dw_.ref,
                                 .dbias = {},
                                 .scratch = scratch_.ref,
                                 .rows_dims = 1,
                                 .accumulate = 1});
  }

 private:
  /// Small numbers of both signs: products stay finite however often they are repeated.
  static void fill(TensorRef const& t) {
    for (std::int64_t i = 0; i < t.spec.count(); ++i) {
      auto const value = static_cast<float>((i * 7919) % 1009 - 504) * 1e-4f;
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      if (t.spec.dtype == DType::f32) t.as<float>()[i] = value;
      if (t.spec.dtype == DType::bf16) t.as<std::uint16_t>()[i] = static_cast<std::uint16_t>(bits >> 16);
    }
  }

  TensorRef pack(device::Arena& memory, PackUse use) {
    auto const& s = w_.ref.spec;
    TensorSpec const spec{DType::u8, {packed_weight_bytes(s.shape[0], s.shape[1], s.dtype)}};
    memory = device::Arena(spec.bytes());
    TensorRef const packed{memory.at(0), spec};
    pack_weight(stream_, {.w = w_.ref,
                          .packed = packed,
                          .scratch = scratch_.ref,
                          .n = s.shape[0],
                          .k = s.shape[1],
                          .rows = x_.ref.spec.shape[0],
                          .dtype = s.dtype,
                          .use = use});
    return packed;
  }

  device::Stream stream_;
  Tensor x_, y_, w_, dx_, dw_, scratch_;
  device::Arena forward_packed_, backward_packed_;
  TensorRef forward_, backward_;  // the weight as products take it: as it is, or packed
};

double median(std::vector<double>& v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

std::vector<GemmRow> bench_gemm(GemmBenchOptions const& options) {
  constexpr std::pair<std::int64_t, std::int64_t> shapes[] = {
      {2304, 768}, {768, 768}, {3072, 768}, {768, 3072}, {50257, 768}};
  std::vector<GemmRow> table;
  for (auto const t : options.dtypes) {
    for (auto const m : options.rows) {
      for (auto const& [n, k] : shapes) {
        Layer layer(m, n, k, t);
        std::pair<char const*, std::function<void()>> const uses[] = {{"forward", [&] { layer.forward(); }},
                                                                      {"grad_input", [&] { layer.grad_input(); }},
                                                                      {"grad_weight", [&] { layer.grad_weight(); }}};
        for (auto const& [use, run] : uses) {
          run();
          std::vector<double> times, peaks;
          auto const start = Clock::now();
          do {
            peaks.push_back(measure_peak_gflops(t, 0));
            for (int i = 0; i < 3; ++i) {
              auto const before = Clock::now();
              run();
              times.push_back(std::chrono::duration<double>(Clock::now() - before).count());
            }
          } while (std::chrono::duration<double>(Clock::now() - start).count() < options.seconds_per_row);
          auto const flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
          table.push_back({m, n, k, t, use, flops / median(times) * 1e-9, median(peaks)});
        }
      }
    }
  }
  return table;
}

}  // namespace lamina::kernels
