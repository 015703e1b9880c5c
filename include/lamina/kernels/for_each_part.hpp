#pragma once

#include <cstdint>
#include <functional>

namespace lamina::kernels {

/// work(begin, end) over parts of [0, count), at most one for each of the kernels' threads, cut at multiples of
/// `grain`: for what the host prepares between steps. Parts lie as in kernels that go over an array, so memory is first
/// touched where it will be used. Returns when all parts are done. `work` must not throw, communicate or call a kernel.
void for_each_part(std::int64_t count, std::int64_t grain,
                   std::function<void(std::int64_t begin, std::int64_t end)> const& work);

}  // namespace lamina::kernels
