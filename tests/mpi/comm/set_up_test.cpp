#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <numeric>

#include "comm/detail/peer_memory.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/comm/clock.hpp"
#include "support/comm_cases.hpp"

namespace lamina {
namespace {

class SetUp : public ::testing::TestWithParam<test::Kind> {
 protected:
  comm::Communicator group_ = test::make(GetParam());
  int n_ = group_.size(), rank_ = group_.rank();
};

/// Bytes that differ in length between ranks; rank 1 has none, rank 2 has many.
std::string bytes_of(int rank) {
  return rank == 1 ? "" : std::string(rank == 2 ? 1'000'003 : 10 + rank, static_cast<char>('a' + rank));
}

TEST_P(SetUp, bytes_of_any_length_are_broadcast_and_gathered) {
  for (int root = 0; root < n_; ++root) {
    auto bytes = bytes_of(rank_);
    group_.broadcast_bytes(bytes, root);
    EXPECT_EQ(bytes, bytes_of(root));
    auto const gathered = group_.gather_bytes(bytes_of(rank_), root);
    EXPECT_EQ(std::ssize(gathered), rank_ == root ? n_ : 0);
    for (std::size_t r = 0; r < gathered.size(); ++r) EXPECT_EQ(gathered[r], bytes_of(static_cast<int>(r)));
  }
  auto const all = group_.all_gather_bytes(bytes_of(rank_));
  EXPECT_EQ(std::ssize(all), n_);
  for (std::size_t r = 0; r < all.size(); ++r) EXPECT_EQ(all[r], bytes_of(static_cast<int>(r)));
}

TEST_P(SetUp, integers_agree_also_at_the_ends_of_their_range) {
  using Limits = std::numeric_limits<std::int64_t>;
  EXPECT_EQ(group_.all_sum(rank_ + 1), n_ * (n_ + 1) / 2);
  EXPECT_EQ(group_.all_max(-rank_), 0);
  EXPECT_EQ(group_.all_min(-rank_), 1 - n_);
  EXPECT_EQ(group_.all_min(rank_ == 0 ? Limits::min() : Limits::max()), Limits::min());
  EXPECT_EQ(group_.all_max(rank_ == 0 ? Limits::max() : Limits::min()), Limits::max());
}

TEST_P(SetUp, all_ranks_of_this_machine_are_one_node) {
  std::vector<int> everyone(n_);
  std::iota(everyone.begin(), everyone.end(), 0);
  EXPECT_EQ(group_.node_members(), everyone);
}

TEST_P(SetUp, clocks_that_differ_are_compared_with_that_of_rank_0) {
  auto const same = comm::measure_clock(group_);
  EXPECT_EQ(same.offset_ns, 0);  // one machine, one clock
  EXPECT_EQ(same.uncertainty_ns > 0, rank_ > 0);
  std::int64_t const ahead = rank_ == 0 ? 0 : 3'000'000'000 * (rank_ % 2 == 0 ? rank_ : -rank_) + 17;
  auto const other = comm::measure_clock(
      group_, [&] { return comm::steady_ns() + ahead; }, 9);
  EXPECT_LE(std::abs(other.offset_ns - ahead), other.uncertainty_ns);
  EXPECT_LT(other.uncertainty_ns, 500'000'000);  // on a machine whose cores are shared
}

TEST_P(SetUp, values_that_differ_name_the_ranks) {
  comm::require_equal(group_, "revision", "the source revision", "abc");
  if (n_ == 1) return;
  try {
    comm::require_equal(group_, "revision", "the source revision", rank_ == n_ - 1 ? "new" : "old");
    ADD_FAILURE() << "different revisions passed";
  } catch (Error const& e) {
    EXPECT_EQ(e.info().code, "comm.world.revision");
    EXPECT_EQ(e.exit_code(), ExitCode::environment);
    EXPECT_NE(e.info().found.find(text("rank ", n_ - 1, " has 'new'")), std::string::npos) << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(mpi, SetUp,
                         ::testing::Values(test::Kind::world, test::Kind::reversed, test::Kind::half, test::Kind::self),
                         ::testing::PrintToStringParamName());

TEST(Subgroup, has_the_order_of_its_list_and_leaves_the_others_out) {
  auto const world = comm::Communicator::world();
  int const n = world.size(), last = n - 1;
  std::vector<int> const ends = n > 1 ? std::vector<int>{last, 0} : std::vector<int>{0};
  auto const group = world.subgroup(ends, "ends", 3);
  bool const member = world.rank() == 0 || world.rank() == last;
  EXPECT_EQ(static_cast<bool>(group), member);
  if (group) {
    EXPECT_EQ(group.rank(), world.rank() == last ? 0 : 1);
    EXPECT_EQ(group.size(), n > 1 ? 2 : 1);
    EXPECT_EQ(group.name(), "ends");
    EXPECT_EQ(group.all_sum(1), group.size());
  }
  world.barrier();
}

TEST(Subgroup, refuses_strange_lists) {
  auto const world = comm::Communicator::world();
  for (std::vector<int> const& members :
       {std::vector<int>{0, 0}, std::vector<int>{world.size()}, std::vector<int>{-1}}) {
    EXPECT_THROW(world.subgroup(members, "strange", 0), Error);
  }
}

TEST(World, reads_the_memory_of_its_ranks_unless_told_not_to) {
  auto const comm = mpi::Comm::world();
  auto const near = comm::detail::find_neighbours(comm);
  if (!near.all()) GTEST_SKIP() << "the system lets no process read another (Yama, seccomp)";
  EXPECT_EQ(near.processes[static_cast<std::size_t>(comm.rank())], getpid());
  if (comm.rank() == comm.size() - 1) setenv("LAMINA_READ_PEERS", "0", 1);  // one of them is enough
  EXPECT_EQ(comm::detail::find_neighbours(comm).processes, std::vector<std::int64_t>(near.processes.size(), 0));
  unsetenv("LAMINA_READ_PEERS");
}

TEST(World, is_one_object_however_often_it_is_asked_for) {
  auto const a = comm::Communicator::world(), b = comm::Communicator::world();
  EXPECT_EQ(&a.name(), &b.name());
  EXPECT_EQ(comm::launched_in_parallel(), a.size() > 1);
}

}  // namespace
}  // namespace lamina
