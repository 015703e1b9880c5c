#pragma once

#include <string>

namespace lamina::kernels {

/// The threads that kernels run on. One object per process, made by the thread that will call the kernels, after the
/// rank knows its device and after MPI_Init; it must outlive every kernel call. Prints nothing.
class Runtime {
 public:
  /// @param threads  threads of this rank; 0: what OMP_NUM_THREADS says, else the cores the process may use.
  /// @throws Error "kernels.runtime.twice" when the process has had a Runtime before.
  explicit Runtime(int threads = 0);
  ~Runtime();
  Runtime(Runtime const&) = delete;
  Runtime& operator=(Runtime const&) = delete;
};

/// Of the Kokkos that kernels were built with: "4.7.1". Needs no Runtime.
std::string kokkos_version();

/// Threads that kernels use now; scratch is planned for this number.
int threads();

/// Uses only `count` of the runtime's threads from here on: for tests and for measuring how kernels scale.
/// @throws Error "kernels.runtime.threads" outside of 1 .. the number the runtime was made with.
void set_threads(int count);

}  // namespace lamina::kernels
