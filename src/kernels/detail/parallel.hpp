#pragma once

// The shapes of parallel work that kernels are written in. They allocate nothing: labels are static strings.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>

#include "lamina/kernels/runtime.hpp"

namespace lamina::kernels::detail {

/// f(work, slot) for slot in [0, slots), one per thread. @throws Error "kernels.runtime.none" when there is no Runtime.
void run_slots(std::string const& label, int slots, void (*f)(void const* work, int slot), void const* work);

/// f(slot) for slot in [0, slots), one per thread: slot says which piece of scratch a thread may use.
template <class F>
void for_each_slot(std::string const& label, int slots, F const& f) {
  run_slots(
      label, slots, [](void const* work, int slot) { (*static_cast<F const*>(work))(slot); }, &f);
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
