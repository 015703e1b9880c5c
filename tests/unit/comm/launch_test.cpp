#include "comm/detail/launch.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/comm/communicator.hpp"

namespace lamina {
namespace {

constexpr char const* variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",     "MPI_LOCALNRANKS",     "SLURM_STEP_ID",
                                     "SLURM_STEPID",         "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"};

class Launch : public ::testing::Test {
 protected:
  void SetUp() override {
    for (auto const* v : variables) unsetenv(v);
  }
  void TearDown() override { SetUp(); }

  static std::string code_with(std::vector<std::pair<char const*, char const*>> const& environment, int world) {
    for (auto const& [name, value] : environment) setenv(name, value, 1);
    try {
      comm::detail::check_launch(world);
    } catch (Error const& e) {
      EXPECT_EQ(e.exit_code(), ExitCode::environment);
      EXPECT_FALSE(e.info().fix.empty());
      return e.info().code;
    }
    return "";
  }
};

TEST_F(Launch, without_a_launcher_is_one_rank) {
  EXPECT_EQ(code_with({}, 1), "");
  EXPECT_FALSE(comm::launched_in_parallel());
}

TEST_F(Launch, by_srun_without_pmix_is_found) {
  EXPECT_EQ(code_with({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_NTASKS", "4"}}, 1),
            "comm.world.singletons");
  EXPECT_TRUE(comm::launched_in_parallel());
}

TEST_F(Launch, by_another_mpirun_is_found) { EXPECT_EQ(code_with({{"PMI_SIZE", "2"}}, 1), "comm.world.singletons"); }

TEST_F(Launch, as_planned_is_accepted) {
  EXPECT_EQ(code_with({{"OMPI_COMM_WORLD_SIZE", "4"}}, 4), "");
  EXPECT_EQ(code_with({{"OMPI_COMM_WORLD_SIZE", "1"}}, 1), "");
}

TEST_F(Launch, in_a_batch_script_outside_of_a_step_is_one_rank) {
  EXPECT_EQ(code_with({{"SLURM_NTASKS", "8"}}, 1), "");
  EXPECT_FALSE(comm::launched_in_parallel());
}

TEST_F(Launch, with_nonsense_in_the_environment_is_one_rank) {
  EXPECT_EQ(code_with({{"OMPI_COMM_WORLD_SIZE", "many"}}, 1), "");
}

}  // namespace
}  // namespace lamina
