#include "lamina/train/environment.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <new>
#include <system_error>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/version.hpp"
#include "lamina/train/signals.hpp"
#include "train/detail/built_features.hpp"

namespace lamina::train {
namespace {

// Set by reexecute_with_threads: the cores of the binding mask that the launcher gave.
constexpr char const* cores_before = "LAMINA_CORES";

int environment_number(std::initializer_list<char const*> names, int otherwise) {
  for (auto const* name : names) {
    if (auto const* value = std::getenv(name)) {
      if (int const n = std::atoi(value); n > 0) return n;
    }
  }
  return otherwise;
}

std::int64_t file_number(std::string const& path) {
  std::ifstream in(path);
  std::int64_t n = 0;
  return in >> n && n > 0 ? n : INT64_MAX;  // "max", or no such file: no limit
}

/// The tightest memory limit of the control groups that this process is in, of versions 1 and 2.
std::int64_t cgroup_memory_bytes() {
  auto least =
      std::min(file_number("/sys/fs/cgroup/memory.max"), file_number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {  // "<number>:<controllers, none in version 2>:<path>"
    auto const fields = split(line, ':');
    if (fields.size() != 3 || (!fields[1].empty() && fields[1] != "memory")) continue;
    bool const second = fields[1].empty();
    for (auto path = fields[2]; path.size() > 1 && path[0] == '/'; path.resize(path.rfind('/'))) {
      least = std::min(least, file_number(second ? text("/sys/fs/cgroup", path, "/memory.max")
                                                 : text("/sys/fs/cgroup/memory", path, "/memory.limit_in_bytes")));
    }
  }
  return least;
}

/// A line of /proc/self/status that counts KiB, in bytes; 0: there is none.
std::int64_t status_bytes(std::string_view name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(name)) return 1024 * std::atoll(line.c_str() + name.size());
  }
  return 0;
}

// What a process with a rlimit takes beside its arenas once the plan is made.
constexpr std::int64_t reserve = std::int64_t{32} << 20;

/// What a limit of this process leaves beside what it has taken already and the reserve.
std::int64_t left_of(decltype(RLIMIT_AS) resource, std::string_view taken) {
  struct rlimit limit {};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return INT64_MAX;
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(limit.rlim_cur) - status_bytes(taken) - reserve);
}

char const* plural(std::int64_t n) { return n == 1 ? "" : "s"; }

/// Whether on some node the system keeps ranks from reading each other's memory, and not the user. Collective.
bool is_kept_from_reading(comm::Communicator const& world, std::vector<int> const& neighbours) {
  auto const node = world.subgroup(neighbours, "node", 1);
  bool const sends = world.all_max(node.size() > 1 && !node.is_within_reach() ? 1 : 0) > 0;
  return sends && world.all_max(std::getenv("LAMINA_READ_PEERS") ? 1 : 0) == 0;
}

}  // namespace

void require_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  auto const& built = detail::built_features;
  std::vector<std::string> missing;
  auto const need = [&](bool used, bool there, char const* name) {
    if (used && !there) missing.emplace_back(name);
  };
  need(built.avx2, __builtin_cpu_supports("avx2"), "avx2");
  need(built.fma, __builtin_cpu_supports("fma"), "fma");
  need(built.avx512f, __builtin_cpu_supports("avx512f"), "avx512f");
  need(built.avx512bw, __builtin_cpu_supports("avx512bw"), "avx512bw");
  need(built.avx512vl, __builtin_cpu_supports("avx512vl"), "avx512vl");
  need(built.avx512vnni, __builtin_cpu_supports("avx512vnni"), "avx512vnni");
  need(built.avx512bf16, __builtin_cpu_supports("avx512bf16"), "avx512bf16");
  if (missing.empty()) return;
  fail({.code = "train.environment.instruction_set",
        .subject = "this program on this CPU",
        .found = text("built with ", build_information().options, "; the CPU lacks ", join(missing)),
        .expected = "a CPU with every instruction the kernels were built for",
        .fix = "build on a compute node, or for the oldest CPU of the run: cmake --preset release "
               "-DLAMINA_ARCH=x86-64-v3"});
#endif
}

Threads find_threads(std::int64_t asked) {
  Threads t;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  t.cores = ::sched_getaffinity(0, sizeof mask, &mask) == 0 ? std::max(1, CPU_COUNT(&mask)) : 1;
  // The second time round libgomp has bound this thread to one core before main began.
  t.cores = environment_number({cores_before}, t.cores);
  t.online = std::max(t.cores, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
  t.local_ranks = environment_number({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"}, 1);
  // Masks of one size that together cover the node once are each rank's own; otherwise this many ranks share one.
  int const sharing =
      std::max(1, static_cast<int>((static_cast<std::int64_t>(t.local_ranks) * t.cores + t.online - 1) / t.online));
  t.count = asked > 0 ? static_cast<int>(asked) : std::max(1, t.cores / sharing);
  t.shared = sharing > 1 || t.count > t.cores;
  return t;
}

std::map<std::string, std::string> openmp_environment(Threads const& threads) {
  std::map<std::string, std::string> wanted{{"OMP_NUM_THREADS", std::to_string(threads.count)}};
  // Processes that share a mask would all be bound to its first cores: ranks, or other runs beside one that nobody gave
  // cores of its own and that leaves some of them alone.
  bool const owned = !threads.shared && (threads.local_ranks > 1 || threads.count == threads.cores);
  wanted["OMP_PROC_BIND"] = owned ? "close" : "false";
  if (owned) wanted["OMP_PLACES"] = "cores";
  if (threads.shared) wanted["OMP_WAIT_POLICY"] = "passive";
  return wanted;
}

void reexecute_with_threads(Threads const& threads, char** arguments) {
  if (std::getenv(cores_before)) return;  // second time round
  bool changed = false;
  for (auto const& [name, value] : openmp_environment(threads)) {
    bool const by_user = std::getenv(name.c_str()) != nullptr;
    if (by_user && name != "OMP_NUM_THREADS") continue;
    if (by_user && std::getenv(name.c_str()) == value) continue;
    ::setenv(name.c_str(), value.c_str(), 1);
    changed = true;
  }
  if (!changed) return;
  ::setenv(cores_before, std::to_string(threads.cores).c_str(), 1);
  StopSignals::hand_on();
  ::execv("/proc/self/exe", arguments);
  fail({.code = "train.environment.reexecute",
        .subject = "starting again with OMP_NUM_THREADS",
        .found = std::strerror(errno),
        .expected = "/proc/self/exe can be executed",
        .fix = text("set OMP_NUM_THREADS=", threads.count, " and ", cores_before, "=", threads.cores, " yourself")});
}

World find_world(comm::Communicator const& world, Threads const& threads) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  World w;
  w.ranks = world.size();
  w.hosts = world.all_gather_bytes(host.data());
  auto const neighbours = world.node_members();
  auto const local = static_cast<int>(neighbours.size());
  // A rank that is the first of its node counts it.
  auto const first = neighbours.front() == world.rank();
  w.nodes = static_cast<int>(world.all_sum(first ? 1 : 0));
  w.cores_per_node = static_cast<int>(world.all_min(threads.online));
  auto const builds = world.all_gather_bytes(build_information().version + " " + build_information().git);
  for (std::size_t r = 0; r < builds.size(); ++r) {
    if (builds[r] == builds[0]) continue;
    fail({.code = "train.environment.revision",
          .subject = text("rank ", r, " on ", w.hosts[r]),
          .found = text("built from ", builds[r]),
          .expected = text(builds[0], ", as on rank 0"),
          .fix = "build all binaries of a run from one source revision"});
  }
  if (is_kept_from_reading(world, neighbours)) {
    w.warnings.push_back(
        "ranks of a node send messages, which is slower than to read each other's memory: the system forbids that "
        "(seccomp, a container for each rank, Yama's ptrace_scope above 1)");
  }
  auto const used = static_cast<std::int64_t>(local) * threads.count;
  if (world.all_max(used - threads.online) > 0) {
    w.warnings.push_back(text(local, " rank", plural(local), " of ", threads.count, " thread", plural(threads.count),
                              " share ", threads.online, " core", plural(threads.online), ": ",
                              threads.count > 1 ? "lower device.threads, or start" : "start",
                              " fewer ranks on a node"));
  } else if (world.all_min(used - threads.online) < 0) {
    auto const each = threads.online / local;
    w.warnings.push_back(text(threads.online - used, " of ", threads.online, " cores are idle: ", local, " rank",
                              plural(local), " of ", threads.count, " thread", plural(threads.count),
                              "; with mpirun use --map-by slot:PE=", each, ", with srun --cpus-per-task=", each));
  }
  return w;
}

std::string describe(World const& world, Threads const& threads) {
  return text(world.ranks, " rank", plural(world.ranks), ", ", world.nodes, " node", plural(world.nodes), ", ",
              world.cores_per_node, " core", plural(world.cores_per_node), world.nodes > 1 ? " each" : "", ", no gpu, ",
              threads.count, " thread", plural(threads.count), " a rank");
}

std::int64_t peak_resident_bytes() { return status_bytes("VmHWM:"); }

std::int64_t usable_memory_bytes(std::int64_t ranks_here) {
  auto const machine = static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  auto const shared = std::min(machine, cgroup_memory_bytes()) / ranks_here;
  return std::min({shared, left_of(RLIMIT_AS, "VmSize:"), left_of(RLIMIT_DATA, "VmData:")});
}

Error as_error(std::exception const& e) {
  auto const* refused = dynamic_cast<std::system_error const*>(&e);
  bool const exhausted = dynamic_cast<std::bad_alloc const*>(&e) != nullptr ||
                         (refused != nullptr && (refused->code() == std::errc::resource_unavailable_try_again ||
                                                 refused->code() == std::errc::not_enough_memory));
  if (exhausted) {
    return Error({.code = "train.memory.exhausted",
                  .subject = "the system refused memory or a thread",
                  .found = e.what(),
                  .expected = "room for threads, libraries and files beside what is planned",
                  .fix = "raise the limit (ulimit -d, -v, -u, cgroup), or plan for less: more ranks, memory.recompute, "
                         "a smaller batch.micro"});
  }
  return Error({.code = "app.internal",
                .subject = e.what(),
                .found = "an exception that nothing expects",
                .expected = "an error that says what to do",
                .fix = "this is a bug in Lamina: please report it with the command line"});
}

}  // namespace lamina::train
