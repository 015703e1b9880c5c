#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"

/// What a process finds around it: CPU, launcher, cores, nodes.
namespace lamina::train {

/// Compares the instruction set the kernels were built for with this CPU. Must run before any kernel.
/// @throws Error "train.environment.instruction_set" (exit 4) naming the build's -march and the missing features.
void require_instruction_set();

/// A library that a run depends on, with its version as loaded, "none" in a build without it.
struct Library {
  std::string name, version;
};
/// MPI, HDF5, Kokkos, oneDNN. Needs neither MPI_Init nor a kernels::Runtime, but the instruction set checked.
std::vector<Library> libraries();

/// How many threads this process may use, before MPI is there.
struct Threads {
  int cores = 1;        ///< in the binding mask
  int online = 1;       ///< of the node
  int local_ranks = 1;  ///< ranks on this node, as the launcher's environment says
  int count = 1;        ///< asked for, or cores / ranks that share them
  bool shared = false;  ///< ranks share cores: waiting threads must yield
};
Threads find_threads(std::int64_t asked);

/// What libgomp is told: OMP_NUM_THREADS, OMP_PROC_BIND, OMP_PLACES and, when ranks share cores,
/// OMP_WAIT_POLICY=passive. Threads are bound where the cores are this process's own: those that a launcher gave a
/// rank, or all there are.
std::map<std::string, std::string> openmp_environment(Threads const& threads);

/// Sets these, and executes the program again with the same arguments if they were not set so already: libgomp reads
/// them before main. Before MPI_Init only. What the user has set by hand is kept.
void reexecute_with_threads(Threads const& threads, char** arguments);

/// One rank's view, gathered at start.
struct World {
  int ranks = 1, nodes = 1, cores_per_node = 1;
  std::vector<std::string> hosts;     ///< per rank
  std::vector<std::string> warnings;  ///< idle or doubly used cores, with the flag to use
};
/// Collective. Also checks that all ranks were built from the same source. @throws Error "train.environment.revision"
/// (exit 4).
World find_world(comm::Communicator const& world, Threads const& threads);
/// "4 ranks, 2 nodes, 16 cores each, no gpu, 8 threads a rank"
std::string describe(World const& world, Threads const& threads);

/// Resident high-water mark of this process (VmHWM), bytes.
std::int64_t peak_resident_bytes();
/// Memory that this process may take, bytes: its share of the machine or of its cgroup among the ranks that run here,
/// and no more than the rlimits of addresses and of data (`ulimit -v`, `ulimit -d`) leave beside what it has already.
/// A reserve is kept of these for what is no part of a plan: stacks of threads, libraries, files.
std::int64_t usable_memory_bytes(std::int64_t ranks_here = 1);

/// What somebody else threw, as an Error: "train.memory.exhausted" (exit 5) where the system refused memory or a
/// thread, "app.internal" (exit 70) otherwise.
Error as_error(std::exception const& e);

}  // namespace lamina::train
