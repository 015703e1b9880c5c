#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "lamina/base/fault.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "support/checkpoint_cases.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::Split;

/// One rank that saves and loads the test model.
class OneRank : public ::testing::Test {
 protected:
  ~OneRank() override { fault::configure(""); }

  SaveReport save_step(std::int64_t step, Options const& options = {}) {
    auto shard = test::make_shard(Split::replicated, 0, 1, step);
    return save(run, test::make_state(step), shard.pieces(), options, world);
  }
  /// Loads and compares every element; returns what was found.
  Found load_step(std::int64_t step = -1) {
    auto shard = test::make_shard(Split::replicated, 0, 1, -1);
    auto found = load(run, step, shard.pieces(), world);
    EXPECT_EQ(found.any ? shard.wrong(found.state.step) : 0, 0);
    return found;
  }
  std::set<std::string> names(std::string const& below = "checkpoints") {
    std::set<std::string> result;
    for (auto const& e : fs::directory_iterator(directory / "run/" + below)) result.insert(e.path().filename());
    return result;
  }

  test::TemporaryDirectory directory;
  std::string run = directory / "run";
  comm::Communicator world = comm::Communicator::self();
};

TEST_F(OneRank, loads_what_it_saved_with_the_state) {
  auto const report = save_step(12);
  EXPECT_EQ(report.directory, run + "/checkpoints/step-00000012");
  EXPECT_TRUE(report.warnings.empty());
  EXPECT_GT(report.bytes, 0);
  auto const found = load_step();
  EXPECT_TRUE(found.any);
  EXPECT_EQ(found.directory, report.directory);
  EXPECT_EQ(found.state.tokens, 12'000);
  EXPECT_EQ(found.state.data_position, 96);
  EXPECT_EQ(found.state.config, test::make_state(12).config);
  EXPECT_EQ(names(), (std::set<std::string>{"latest", "step-00000012"}));
  EXPECT_EQ(test::read_file(run + "/checkpoints/latest"), "step-00000012\n");
  EXPECT_TRUE(verify(report.directory).empty());
}

TEST_F(OneRank, writes_the_same_bytes_for_the_same_state) {
  auto const a = save_step(5).directory;
  auto const files = {"manifest.json", "tensors-0.h5"};
  std::vector<std::string> before;
  for (auto const* f : files) before.push_back(test::read_file(a + "/" + f));
  save_step(5);
  std::size_t i = 0;
  for (auto const* f : files) EXPECT_TRUE(test::read_file(a + "/" + f) == before[i++]) << f;
  EXPECT_EQ(names(), (std::set<std::string>{"latest", "step-00000005"}));
}

TEST_F(OneRank, spreads_tensors_over_files_and_finds_them_again) {
  auto const report = save_step(1, {.files = 3});
  EXPECT_EQ(names("checkpoints/step-00000001"),
            (std::set<std::string>{"manifest.json", "tensors-0.h5", "tensors-1.h5", "tensors-2.h5"}));
  EXPECT_TRUE(load_step().any);
  EXPECT_TRUE(verify(report.directory).empty());
}

TEST_F(OneRank, finds_nothing_where_nothing_is_and_says_so_when_a_step_was_asked_for) {
  EXPECT_FALSE(load_step().any);
  EXPECT_FALSE(peek(run, -1).any);
  EXPECT_EQ(test::error_of([&] { load_step(3); }).code, "checkpoint.load.step");
  save_step(2);
  EXPECT_EQ(test::error_of([&] { load_step(3); }).code, "checkpoint.load.step");
  EXPECT_FALSE(peek(run, 3).any);
}

TEST_F(OneRank, loads_the_newest_or_the_step_that_was_asked_for_by_number_not_by_time) {
  save_step(20), save_step(10);
  EXPECT_EQ(load_step().state.step, 20);
  EXPECT_EQ(load_step(10).state.step, 10);
  EXPECT_EQ(peek(run, -1).state.step, 20);
  EXPECT_EQ(peek(run + "/checkpoints/step-00000010", -1).state.step, 10);
}

TEST_F(OneRank, keeps_as_many_as_asked_at_least_two_and_every_nth) {
  for (std::int64_t step = 1; step <= 7; ++step) save_step(step, {.keep = 1, .keep_every = 3});
  EXPECT_EQ(names(), (std::set<std::string>{"latest", "step-00000003", "step-00000006", "step-00000007"}));
  save_step(8, {.keep = 3});
  EXPECT_EQ(names(), (std::set<std::string>{"latest", "step-00000006", "step-00000007", "step-00000008"}));
}

TEST_F(OneRank, does_not_count_damaged_or_abandoned_newer_checkpoints_when_it_prunes) {
  save_step(100), save_step(200), save_step(300);  // 100 is pruned
  test::flip_bit(run + "/checkpoints/step-00000300/tensors-0.h5", 60'000);
  fs::remove(run + "/checkpoints/step-00000200/tensors-0.h5");
  save_step(150);
  save_step(160);
  EXPECT_EQ(names(),
            (std::set<std::string>{"latest", "step-00000150", "step-00000160", "step-00000200", "step-00000300"}));
}

TEST_F(OneRank, removes_what_killed_saves_left) {
  save_step(1);
  fs::create_directories(run + "/checkpoints/.tmp-step-2-77.0/x");
  fs::create_directories(run + "/checkpoints/.old-step-00000000-77");
  EXPECT_EQ(load_step().state.step, 1);
  save_step(3);
  EXPECT_EQ(names(), (std::set<std::string>{"latest", "step-00000001", "step-00000003"}));
}

TEST_F(OneRank, does_not_take_a_directory_that_it_cannot_read_for_an_empty_one) {
  fs::create_directories(run);
  test::write_file(run + "/checkpoints", "");
  EXPECT_EQ(test::error_of([&] { load_step(); }).code, "checkpoint.load.directory");
}

TEST_F(OneRank, needs_no_hint) {
  save_step(1);
  test::write_file(run + "/checkpoints/latest", "step-99999999\n../../..\n");
  EXPECT_EQ(load_step().state.step, 1);
}

TEST_F(OneRank, refuses_pieces_it_cannot_save_and_leaves_nothing) {
  auto const code = [&](auto const& change) {
    auto shard = test::make_shard(Split::replicated, 0, 1, 1);
    auto pieces = shard.pieces();
    change(pieces);
    return test::error_of([&] { save(run, test::make_state(1), pieces, {}, world); }).code;
  };
  EXPECT_EQ(code([](auto& p) { p[0].name = "a/b"; }), "checkpoint.save.name");
  EXPECT_EQ(code([](auto& p) { p[0].name = "a b"; }), "checkpoint.save.name");
  EXPECT_EQ(code([](auto& p) { p[0].name = ".."; }), "checkpoint.save.name");
  EXPECT_EQ(code([](auto& p) { p[0].role = Role::gradient; }), "checkpoint.save.role");
  EXPECT_EQ(code([](auto& p) { p[0].memory.data = nullptr; }), "checkpoint.save.memory");
  EXPECT_EQ(code([](auto& p) { p[0].memory.spec.shape = {3}; }), "checkpoint.save.memory");
  EXPECT_EQ(code([](auto& p) { p.push_back(p[0]); }), "checkpoint.save.owners");
  EXPECT_EQ(
      code([](auto& p) { p[0].slabs = {test::part_of(p[0].global_shape, 0, 0, 37)}, p[0].memory.spec.shape = {70}; }),
      "checkpoint.save.owners");
  EXPECT_EQ(code([](auto& p) { p.push_back(p[0]), p.back().global_shape = {5}, p.back().memory.spec.shape = {5}; }),
            "checkpoint.save.shape");
  EXPECT_FALSE(fs::exists(run + "/checkpoints"));
  auto state = test::make_state(1);
  state.step = 100'000'000;
  EXPECT_EQ(test::error_of([&] { save(run, state, {}, {}, world); }).code, "checkpoint.save.step");
  state = test::make_state(1);
  state.config = "\xff";
  EXPECT_EQ(test::error_of([&] { save(run, state, {}, {}, world); }).code, "checkpoint.save.failed");
  EXPECT_TRUE(names().empty());
}

TEST_F(OneRank, refuses_to_load_tensors_that_are_not_there_or_differ) {
  save_step(1);
  auto const code = [&](auto const& change) {
    auto shard = test::make_shard(Split::replicated, 0, 1, -1);
    auto pieces = shard.pieces();
    change(pieces);
    return test::error_of([&] { load(run, -1, pieces, world); }).code;
  };
  EXPECT_EQ(code([](auto& p) { p[0].name = "embed.other"; }), "checkpoint.load.missing");
  EXPECT_EQ(code([](auto& p) { p[0].global_shape = {70, 37}; }), "checkpoint.load.shape");
  EXPECT_EQ(code([](auto& p) { p[0].memory.spec.dtype = DType::i32; }), "checkpoint.load.dtype");
}

TEST_F(OneRank, loads_a_part_and_still_finds_damage_in_the_rest_of_the_tensor) {
  auto const directory_of_step = save_step(1).directory;
  auto const load_part = [&] {
    test::Shard shard;
    auto const t = test::model_tensors()[0];
    shard.add(t, {test::part_of(t.shape, 1, 0, 7)}, -1);
    load(run, -1, shard.pieces(), world);
    return shard.wrong(1);
  };
  EXPECT_EQ(load_part(), 0);
  auto const listing = test::read_file(directory_of_step + "/manifest.json");
  auto const at = listing.find("\"embed.tokens.weight\",\"role\":\"parameter\"");
  auto const offset = std::stoll(listing.substr(listing.find("\"offset\":", at) + 9));
  test::flip_bit(directory_of_step + "/tensors-0.h5", offset + 4 * (37 * 70 - 1));
  EXPECT_EQ(test::error_of(load_part).code, "checkpoint.load.none_valid");
}

TEST_F(OneRank, suggests_youngs_interval) { EXPECT_DOUBLE_EQ(suggested_interval_s(2, 3600), 120); }

}  // namespace
}  // namespace lamina::checkpoint
