#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/tensor/dtype.hpp"

namespace lamina::kernels {

/// One kernel that is no matrix product, measured as a training step of GPT-2 124M calls it (1,024 rows).
struct KernelBenchRow {
  std::string kernel, size;
  DType dtype = DType::f32;
  double gflops_per_s = 0;  ///< 0 where only bytes count
  double gbytes_per_s = 0;  ///< each operand read or written once
  double of_limit = 0;      ///< of the multiply-add peak or of the streaming bandwidth, measured in the same run
};

/// Kokkos must be initialised; uses its threads. `seconds` is spent on each row and each limit.
std::vector<KernelBenchRow> bench_kernels(double seconds);

/// x[i] = a x[i] + y[i] over arrays much larger than any cache: 12 bytes an element, GB/s on all threads.
double measure_stream_gbytes_per_s(double seconds);

}  // namespace lamina::kernels
