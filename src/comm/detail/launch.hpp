#pragma once

namespace lamina::comm::detail {

/// Number of ranks that the launcher's environment variables announce; 0 when there is no launcher.
int announced_ranks();
/// @throws Error "comm.world.singletons" when several ranks were launched and this one sees only itself.
void check_launch(int world_size);

/// The process that the launcher started for this rank (this one, or a script around it) and the launcher: mpirun, its
/// daemon on this node, or Slurm's. Zeros when there is no launcher.
struct Launched {
  int process = 0, launcher = 0;
};
Launched find_launched();
/// 0 when the process is gone.
int parent_of(int process);

}  // namespace lamina::comm::detail
