#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/tensor/dtype.hpp"

namespace lamina::kernels {

/// One matrix product, measured as a training step calls it.
struct GemmRow {
  std::int64_t m = 0, n = 0, k = 0;  ///< rows, output features, input features of the layer
  DType dtype = DType::f32;
  std::string use;          ///< "forward", "grad_input", "grad_weight"
  double gflops_per_s = 0;  ///< 2 m n k / median time
  double peak = 0;          ///< GF/s of a register-resident multiply-add loop, measured between the products
};

struct GemmBenchOptions {
  std::vector<std::int64_t> rows = {256, 1024};
  std::vector<DType> dtypes = {DType::f32, DType::bf16};
  double seconds_per_row = 0.2;
};

/// The products of GPT-2 124M. Kokkos must be initialised; uses its threads.
std::vector<GemmRow> bench_gemm(GemmBenchOptions const& options);

/// GF/s of a multiply-add loop that lives in registers, on all threads: f32 FMA, or bf16 dot products where the
/// instruction set has them (for bf16 without them, and on AMX, 0: compare with the best product instead).
double measure_peak_gflops(DType dtype, double seconds);

}  // namespace lamina::kernels
