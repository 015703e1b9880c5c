#include "detail/launch.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/comm/communicator.hpp"
#include "vendor/mpi/mpi.hpp"

namespace lamina::comm {
namespace {

int integer_from(char const* variable) {
  char const* const value = std::getenv(variable);
  if (!value) return 0;
  int n = 0;
  std::string_view const digits = value;
  auto const end = digits.data() + digits.size();
  return std::from_chars(digits.data(), end, n).ptr == end ? n : 0;
}

}  // namespace

namespace detail {

int announced_ranks() {
  // Open MPI's mpirun, MPICH's hydra and PMI-2 launchers.
  for (auto const* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"}) {
    if (int const n = integer_from(variable)) return n;
  }
  // A step of srun. SLURM_NTASKS alone is no step: a batch script has it too.
  if (std::getenv("SLURM_STEP_ID") || std::getenv("SLURM_STEPID")) {
    if (int const n = integer_from("SLURM_STEP_NUM_TASKS")) return n;
    return integer_from("SLURM_NTASKS");
  }
  return 0;
}

void check_launch(int world_size) {
  int const announced = announced_ranks();
  if (world_size > 1 || announced <= 1) return;
  bool const slurm = std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr && std::getenv("PMI_SIZE") == nullptr;
  fail({.code = "comm.world.singletons",
        .subject = "start of the ranks",
        .found = text("the launcher started ", announced, " ranks, but MPI sees a world of one"),
        .expected = "one MPI world over all of them",
        .fix = slurm ? "srun and MPI do not speak the same language: try `srun --mpi=pmix`, or `mpirun` inside the "
                       "allocation (`srun --mpi=list` shows what there is)"
                     : "use the mpirun that belongs to the MPI library of this build (`lamina doctor` names it)"});
}

}  // namespace detail

bool launched_in_parallel() {
  if (detail::announced_ranks() > 1) return true;
  return mpi::initialised() && Communicator::world().size() > 1;
}

void abort_job(int code) { mpi::abort(code); }

void require_equal(Communicator const& world, std::string_view rule, std::string_view what, std::string const& value) {
  auto const values = world.all_gather_bytes(value);
  std::vector<int> others;
  for (int r = 0; r < world.size(); ++r) {
    if (values[r] != values[0]) others.push_back(r);
  }
  if (others.empty()) return;
  fail({.code = text("comm.world.", rule),
        .subject = text(what, " differs between the ranks"),
        .found = text("rank 0 has '", values[0], "'; rank ", others[0], " has '", values[others[0]], "'; ",
                      others.size(), " of ", world.size(), " ranks differ from rank 0: ", join(others)),
        .expected = "the same on every rank",
        .fix = "start the same build with the same files on every node"});
}

}  // namespace lamina::comm
