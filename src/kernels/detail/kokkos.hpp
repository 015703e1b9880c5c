#pragma once

// The one place that chooses an execution space and knows Kokkos' versions. Kernels launch through parallel.hpp, so
// that its headers, a second and a half in every compilation, are read by few files.
#include <Kokkos_Core.hpp>
#include <string>

namespace lamina::kernels::detail {

constexpr int kokkos_version = KOKKOS_VERSION;  ///< 10000 * major + 100 * minor + patch

/// Where blocked kernels run: the host's threads, also in a build for GPUs.
using Exec = Kokkos::DefaultHostExecutionSpace;

/// The runtime's space. @throws Error "kernels.runtime.none" when there is no Runtime.
Exec const& space();

/// f(slot) for slot in [0, slots), one per thread. Allocates nothing: the label is a static string and the space a copy
/// of one that the runtime holds.
template <class F>
void launch(std::string const& label, int slots, F const& f) {
  // Left to choose a chunk itself, the policy asks for the concurrency of a new space, which allocates.
  Kokkos::ChunkSize const one(1);
#ifdef KOKKOS_ENABLE_SERIAL
  if (slots == 1) {  // waking the team costs more than a small kernel
    static Kokkos::Serial const serial;
    Kokkos::parallel_for(label, Kokkos::RangePolicy<Kokkos::Serial, Kokkos::IndexType<int>>(serial, 0, 1, one), f);
    return;
  }
#endif
  Kokkos::parallel_for(label, Kokkos::RangePolicy<Exec, Kokkos::IndexType<int>>(space(), 0, slots, one), f);
}

}  // namespace lamina::kernels::detail
