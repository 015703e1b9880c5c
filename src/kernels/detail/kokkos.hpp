#pragma once

// The one place that chooses an execution space and knows Kokkos' versions. Kernels use the functions below, which
// allocate nothing: labels are static strings and the space is a copy of one that the runtime holds.
#include <Kokkos_Core.hpp>
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>

#include "lamina/device/stream.hpp"
#include "lamina/kernels/runtime.hpp"

namespace lamina::kernels::detail {

/// Where blocked kernels run: the host's threads, also in a build for GPUs.
using Exec = Kokkos::DefaultHostExecutionSpace;

/// The runtime's space. @throws Error "kernels.runtime.none" when there is no Runtime.
Exec const& space();

/// f(slot) for slot in [0, slots), one per thread: slot says which piece of scratch a thread may use.
template <class F>
void for_each_slot(std::string const& label, int slots, F const& f) {
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

/// f(task, slot) for every task in [0, tasks); a thread takes the next one when it is done, so tasks may differ in
/// size and cores may be shared. Tasks must be independent of each other: then the order changes no bit.
template <class F>
void for_each_task(std::string const& label, std::int64_t tasks, F const& f) {
  if (tasks <= 0) return;
  std::atomic<std::int64_t> next{0};
  auto* const counter = &next;
  for_each_slot(label, static_cast<int>(std::min<std::int64_t>(threads(), tasks)), [&f, tasks, counter](int slot) {
    for (auto task = counter->fetch_add(1, std::memory_order_relaxed); task < tasks;
         task = counter->fetch_add(1, std::memory_order_relaxed)) {
      f(task, slot);
    }
  });
}

/// f(begin, end) over pieces of [0, count), at most one per thread, cut at multiples of `grain`: for work that is even
/// and bound by memory, so that a thread meets the same part of an array every time.
template <class F>
void for_each_range(std::string const& label, std::int64_t count, std::int64_t grain, F const& f) {
  if (count <= 0) return;
  auto const grains = (count + grain - 1) / grain;
  auto const pieces = std::min<std::int64_t>(threads(), grains);
  for_each_slot(label, static_cast<int>(pieces), [&f, count, grain, grains, pieces](int slot) {
    auto const begin = grains * slot / pieces * grain;
    auto const end = std::min(count, grains * (slot + 1) / pieces * grain);
    if (begin < end) f(begin, end);
  });
}

}  // namespace lamina::kernels::detail
