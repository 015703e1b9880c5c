#pragma once

namespace lamina::comm::detail {

/// Number of ranks that the launcher's environment variables announce; 0 when there is no launcher.
int announced_ranks();
/// @throws Error "comm.world.singletons" when several ranks were launched and this one sees only itself.
void check_launch(int world_size);

}  // namespace lamina::comm::detail
