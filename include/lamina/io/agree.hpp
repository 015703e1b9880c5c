#pragma once

#include <functional>

#include "lamina/comm/communicator.hpp"

namespace lamina::io {

/// Runs `work` on this rank, waits for all, and makes them agree: returns on every rank, or throws on every rank the
/// Error of the lowest rank that failed, with the place where that rank threw it, its subject prefixed with "rank <r>: "
/// when there are several ranks.
/// Collective, blocking, main thread. `work` must not communicate. Exceptions that are not an Error get the code
/// "io.agree.exception".
void agree(comm::Communicator const& world, std::function<void()> const& work);

}  // namespace lamina::io
