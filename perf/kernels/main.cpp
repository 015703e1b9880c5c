// perf.kernels [--benchmark_filter=attention] [--benchmark_format=json]: OMP_NUM_THREADS says how many threads.
#include <benchmark/benchmark.h>

#include "lamina/kernels/runtime.hpp"

int main(int argc, char** argv) {
  lamina::kernels::Runtime const runtime;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
