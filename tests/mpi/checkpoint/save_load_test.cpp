#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "lamina/base/error.hpp"
#include "lamina/base/fault.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "support/checkpoint_cases.hpp"
#include "support/temporary.hpp"

namespace lamina::checkpoint {
namespace {

namespace fs = std::filesystem;
using comm::Communicator;
using test::Split;

constexpr Split splits[] = {Split::replicated, Split::first_dim, Split::last_dim, Split::two_slabs};

/// A run directory that all ranks share; rank 0 makes and removes it.
class SharedRun : public ::testing::Test {
 protected:
  SharedRun() {
    std::string path;
    if (world.rank() == 0) directory = std::make_unique<test::TemporaryDirectory>(), path = *directory / "run";
    world.broadcast_bytes(path, 0);
    run = path;
    fault::set_rank(world.rank());
  }
  ~SharedRun() override {
    fault::configure("");
    world.barrier();
  }
  /// The first n ranks; invalid on the others.
  Communicator first(int n) {
    std::vector<int> members(static_cast<std::size_t>(n));
    std::iota(members.begin(), members.end(), 0);
    if (world.rank() >= n) return world.subgroup(std::vector<int>{world.rank()}, "rest", 2), Communicator();
    return world.subgroup(members, "first", 1);
  }
  std::string error_of_save(std::vector<Piece> const& pieces, std::int64_t step) {
    try {
      save(run, test::make_state(step), pieces, {.files = 2}, world);
      return {};
    } catch (Error const& e) {
      return e.info().code + " " + e.info().subject;
    }
  }

  Communicator world = Communicator::world();
  std::unique_ptr<test::TemporaryDirectory> directory;
  std::string run;
};

TEST_F(SharedRun, what_n_ranks_save_m_ranks_load_in_any_layout_with_the_same_checksums) {
  std::int64_t step = 1;
  for (int n = 1; n <= world.size(); ++n) {
    auto const savers = first(n);
    for (std::size_t k = 0; k < std::size(splits); ++k) {
      if (savers) {
        auto shard = test::make_shard(splits[k], savers.rank(), n, step);
        auto const report = save(run, test::make_state(step), shard.pieces(), {.files = 2}, savers);
        EXPECT_TRUE(report.warnings.empty());
      }
      world.barrier();
      EXPECT_TRUE(world.rank() != 0 || verify(list(run).back().directory).empty()) << "one rank finds other checksums";
      for (int m = 1; m <= world.size(); ++m) {  // over all n and m, every split meets every other
        auto const loaders = first(m);
        if (!loaders) continue;
        auto const other = splits[(k + static_cast<std::size_t>(n + m)) % std::size(splits)];
        auto shard = test::make_shard(other, loaders.rank(), m, -1);
        auto const found = load(run, -1, shard.pieces(), loaders);
        EXPECT_EQ(found.state.step, step);
        EXPECT_EQ(shard.wrong(step), 0) << "saved by " << n << ", loaded by " << m;
      }
      world.barrier();
      ++step;
    }
  }
}

TEST_F(SharedRun, replicas_write_their_shares_and_the_file_is_the_same_as_from_one_rank) {
  auto shard = test::make_shard(Split::replicated, 0, 1, 5);
  save(run, test::make_state(5), split_among_replicas(shard.pieces(), world.rank(), world.size()), {}, world);
  if (world.rank() == 0) {
    auto const other = run + "-one";
    save(other, test::make_state(5), shard.pieces(), {}, Communicator::self());
    for (std::string const file :
         {"/checkpoints/step-00000005/manifest.json", "/checkpoints/step-00000005/tensors-0.h5"})
      EXPECT_TRUE(test::read_file(run + file) == test::read_file(other + file)) << file;
  }
}

TEST_F(SharedRun, a_failure_on_one_rank_is_an_error_on_all_and_leaves_the_last_checkpoint) {
  auto shard = test::make_shard(Split::first_dim, world.rank(), world.size(), 1);
  EXPECT_EQ(error_of_save(shard.pieces(), 1), "");
  auto const last = world.size() - 1;
  for (char const* fault : {"checkpoint.write:ENOSPC", "checkpoint.write:EIO", "checkpoint.fsync:EIO"}) {
    // Rank 0 has passed checkpoint.fsync twice when it made the two files.
    auto const passage = last == 0 && std::string(fault).find("fsync") != std::string::npos ? 3 : 1;
    fault::configure(text(fault, ":", last, ":", passage));
    auto const error = error_of_save(shard.pieces(), 2);
    EXPECT_TRUE(error.starts_with("checkpoint.save.")) << error;
    EXPECT_TRUE(world.size() == 1 || error.find(text("rank ", last)) != std::string::npos) << error;
    world.barrier();
    if (world.rank() == 0) {
      for (auto const& e : fs::directory_iterator(run + "/checkpoints"))
        EXPECT_TRUE(e.path().filename() == "latest" || e.path().filename() == "step-00000001") << e.path();
    }
    auto back = test::make_shard(Split::last_dim, world.rank(), world.size(), -1);
    EXPECT_EQ(load(run, -1, back.pieces(), world).state.step, 1);
    EXPECT_EQ(back.wrong(1), 0);
    world.barrier();
  }
}

TEST_F(SharedRun, elements_with_two_owners_or_none_are_refused_on_every_rank) {
  auto shard = test::make_shard(Split::replicated, 0, 1, 1);  // every rank says that it owns all
  auto const error = error_of_save(shard.pieces(), 1);
  EXPECT_EQ(error.starts_with("checkpoint.save.owners"), world.size() > 1) << error;
  auto missing = test::make_shard(Split::replicated, 1, 2, 1);  // nobody owns anything but what every rank does
  if (world.rank() == 0) missing.add({"half", Role::parameter, {2, 3}}, {test::part_of({2, 3}, 0, 0, 2)}, 1);
  EXPECT_TRUE(error_of_save(missing.pieces(), 1).starts_with("checkpoint.save.owners"));
}

TEST_F(SharedRun, damage_is_passed_over_by_all_ranks_together) {
  for (std::int64_t step : {1, 2}) {
    auto shard = test::make_shard(Split::last_dim, world.rank(), world.size(), step);
    save(run, test::make_state(step), shard.pieces(), {}, world);
  }
  if (world.rank() == 0) test::flip_bit(run + "/checkpoints/step-00000002/tensors-0.h5", 200'000);
  world.barrier();
  for (auto const split : splits) {  // with some layouts only one rank holds the damaged byte
    auto shard = test::make_shard(split, world.rank(), world.size(), -1);
    auto const found = load(run, -1, shard.pieces(), world);
    EXPECT_EQ(found.state.step, 1);
    EXPECT_EQ(found.skipped.size(), 1u);
    EXPECT_EQ(shard.wrong(1), 0);
  }
}

TEST_F(SharedRun, a_rank_that_lacks_a_tensor_stops_all) {
  auto shard = test::make_shard(Split::replicated, world.rank(), world.size(), 1);
  save(run, test::make_state(1), shard.pieces(), {}, world);
  auto mine = shard.pieces();
  if (world.rank() == world.size() - 1) mine.front().name = "other";
  std::string code;
  try {
    load(run, -1, mine, world);
  } catch (Error const& e) {
    code = e.info().code;
  }
  EXPECT_EQ(code, "checkpoint.load.missing");
}

}  // namespace
}  // namespace lamina::checkpoint
