#pragma once

#include <functional>
#include <string>

#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"

namespace lamina::train {

/// Runs `f` on rank 0 and gives its Error, if any, to every rank: all throw or none does. Collective.
void on_lead(comm::Communicator const& world, std::function<void()> const& f);

/// The one way out of a parallel program. Waits a moment for the other ranks: if all arrive, the message of the lowest
/// failing rank is printed once and every rank returns the highest code; if some do not (they wait for this rank in a
/// collective), this rank prints its message and ends the job with its code.
/// @param exits  a communicator that nothing else uses.
/// @param message  "" when this rank did not fail.
ExitCode leave(comm::Communicator exits, ExitCode code, std::string const& message, double patience_seconds = 3);

}  // namespace lamina::train
