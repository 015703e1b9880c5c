#pragma once

#include <cstdint>
#include <functional>

#include "lamina/comm/communicator.hpp"

namespace lamina::comm {

/// This rank's clock shows `offset_ns` more than rank 0's at the same moment, give or take `uncertainty_ns`.
struct ClockOffset {
  std::int64_t offset_ns = 0, uncertainty_ns = 0;
};

/// Nanoseconds of the steady clock.
std::int64_t steady_ns();

/// Compares the clocks of all ranks with rank 0's: it asks each of the others in turn what time it is, `rounds` times;
/// of the shortest round trip, the middle is taken for the moment of the answer, and half of it is the uncertainty
/// (Cristian, "Probabilistic clock synchronization", 1989). An offset within its uncertainty is taken for 0: ranks of
/// one machine share its clock, and what is cause and effect there stays in order to the nanosecond. Collective and
/// blocking, outside a step; 2 * rounds messages of 8 bytes to each rank.
ClockOffset measure_clock(Communicator const& world, std::function<std::int64_t()> const& now = steady_ns,
                          int rounds = 32);

}  // namespace lamina::comm
