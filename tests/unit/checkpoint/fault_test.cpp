#include "lamina/base/fault.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "lamina/base/text.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "support/checkpoint_cases.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::Split;

/// Fault points of a save before its commit, in their order; how often a save of two files passes each is in brackets.
std::vector<std::string> const before_commit = {
    "checkpoint.create",           // [2] a file is made
    "checkpoint.preallocate",      // [2]
    "checkpoint.fsync",            // [2 + 2] by its maker, then by its writers
    "checkpoint.write",            // many
    "checkpoint.manifest.create",  // [1]
    "checkpoint.manifest.write",   // [1]
    "checkpoint.manifest.fsync",   // [2] the file, then its directory
    "checkpoint.manifest.rename",  // [1]
    "checkpoint.commit.rename",    // [1]
};
std::vector<std::string> const after_commit = {"checkpoint.commit.fsync",  "checkpoint.latest.create",
                                               "checkpoint.latest.write",  "checkpoint.latest.fsync",
                                               "checkpoint.latest.rename", "checkpoint.prune.rename"};

class SaveFault : public ::testing::Test {
 protected:
  SaveFault() { save_step(1), save_step(2); }
  ~SaveFault() override { fault::configure(""); }

  void save_step(std::int64_t step) {
    auto shard = test::make_shard(Split::replicated, 0, 1, step);
    save(run, test::make_state(step), shard.pieces(), {.files = 2}, comm::Communicator::self());
  }
  std::int64_t loaded_step() {
    auto shard = test::make_shard(Split::replicated, 0, 1, -1);
    auto const found = load(run, -1, shard.pieces(), comm::Communicator::self());
    EXPECT_TRUE(found.skipped.empty());
    EXPECT_EQ(shard.wrong(found.state.step), 0);
    return found.state.step;
  }
  /// Saves step 3 in a child that is killed at a fault point. True when it was.
  bool killed(std::string const& point, int passage, std::int64_t step = 3) {
    pid_t const child = ::fork();
    if (child == 0) {
      fault::configure(text(point, ":kill:*:", passage));
      save_step(step);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  std::vector<std::string> work_in_progress() {
    std::vector<std::string> names;
    for (auto const& e : fs::directory_iterator(run + "/checkpoints")) {
      auto const name = e.path().filename().string();
      if (name != "latest" && !name.starts_with("step-")) names.push_back(name);
    }
    return names;
  }

  test::TemporaryDirectory directory;
  std::string run = directory / "run";
};

TEST_F(SaveFault, kill_at_any_point_before_the_commit_leaves_the_last_checkpoint_and_needs_no_clean_up) {
  for (auto const& point : before_commit) {
    for (int passage : {1, 2, 4}) {
      if (!killed(point, passage)) {
        EXPECT_GT(passage, 1) << point << " was never reached";
        fs::remove_all(run + "/checkpoints/step-00000003");
        save_step(1), save_step(2);
        continue;
      }
      EXPECT_EQ(loaded_step(), 2) << point << " " << passage;
      EXPECT_EQ(work_in_progress().size(), 1u) << point;
    }
  }
  save_step(3);
  EXPECT_EQ(loaded_step(), 3);
  EXPECT_TRUE(work_in_progress().empty());
}

TEST_F(SaveFault, kill_after_the_commit_leaves_the_new_checkpoint) {
  for (auto const& point : after_commit) {
    EXPECT_TRUE(killed(point, 1)) << point;
    EXPECT_EQ(loaded_step(), 3) << point;
    EXPECT_TRUE(verify(run + "/checkpoints/step-00000003").empty());
    fs::remove_all(run + "/checkpoints");
    save_step(1), save_step(2);
  }
}

TEST_F(SaveFault, kill_while_a_step_is_replaced_leaves_the_old_or_the_new_one) {
  for (auto const& point : before_commit) {
    ASSERT_TRUE(killed(point, 1, 2)) << point;
    EXPECT_EQ(loaded_step(), 2) << point;
  }
  for (auto const& point : {"checkpoint.commit.fsync", "checkpoint.latest.create"}) {
    ASSERT_TRUE(killed(point, 1, 2)) << point;
    EXPECT_EQ(loaded_step(), 2) << point;
  }
}

TEST_F(SaveFault, a_full_disk_or_an_io_error_anywhere_is_a_clean_error_and_the_next_save_works) {
  auto points = before_commit;
  points.push_back("checkpoint.commit.fsync");
  for (auto const& point : points) {
    for (std::string const action : {"ENOSPC", "EIO"}) {
      fault::configure(text(point, ":", action, ":*:1"));
      auto const e = test::error_of([&] { save_step(3); });
      EXPECT_TRUE(e.code == "checkpoint.save.no_space" || e.code == "checkpoint.save.failed") << e.code;
      EXPECT_EQ(exit_code_of(e.code), ExitCode::file_system);
      EXPECT_TRUE(work_in_progress().empty()) << point;
      EXPECT_FALSE(fs::exists(run + "/checkpoints/step-00000003")) << point;
      EXPECT_EQ(loaded_step(), 2) << point;
    }
  }
  save_step(3);
  EXPECT_EQ(loaded_step(), 3);
}

TEST_F(SaveFault, a_full_disk_is_reported_with_bytes_needed_and_free) {
  for (char const* point : {"checkpoint.preallocate", "checkpoint.write", "checkpoint.manifest.write"}) {
    fault::configure(text(point, ":ENOSPC:*:1"));
    auto const e = test::error_of([&] { save_step(3); });
    EXPECT_EQ(e.code, "checkpoint.save.no_space");
    EXPECT_NE(e.found.find("needs "), std::string::npos) << e.found;
    EXPECT_NE(e.found.find("bytes free"), std::string::npos) << e.found;
  }
}

TEST_F(SaveFault, a_checkpoint_larger_than_the_disk_is_refused_before_anything_is_written) {
  float x = 0;
  Piece const piece{.name = "w",
                    .role = Role::parameter,
                    .global_shape = {std::int64_t{1} << 50},
                    .slabs = {},
                    .memory = {&x, {DType::f32, {std::int64_t{1} << 50}}}};
  auto const e = test::error_of([&] { save(run, test::make_state(3), {piece}, {}, comm::Communicator::self()); });
  EXPECT_EQ(e.code, "checkpoint.save.no_space");
  EXPECT_NE(e.found.find(text("needs ", (std::int64_t{1} << 52) + (1 << 20), " bytes")), std::string::npos) << e.found;
  EXPECT_TRUE(work_in_progress().empty());
}

TEST_F(SaveFault, a_limit_of_the_system_is_reported_like_a_full_disk) {
  pid_t const child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit const small{.rlim_cur = 100'000, .rlim_max = 100'000};
    ::setrlimit(RLIMIT_FSIZE, &small);
    auto const e = test::error_of([&] { save_step(3); });
    ::_exit(e.code == "checkpoint.save.no_space" ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(work_in_progress().empty());
  EXPECT_EQ(loaded_step(), 2);
}

TEST_F(SaveFault, short_writes_are_completed) {
  fault::configure(
      "checkpoint.write:short-write:*:1,checkpoint.write:short-write:*:5,checkpoint.manifest.write:short-write:*:1");
  save_step(3);
  EXPECT_EQ(loaded_step(), 3);
}

TEST_F(SaveFault, after_the_commit_is_a_warning) {
  for (char const* point : {"checkpoint.latest.write", "checkpoint.prune.rename"}) {
    fault::configure(text(point, ":EIO:*:1"));
    auto shard = test::make_shard(Split::replicated, 0, 1, 4);
    auto const report = save(run, test::make_state(4), shard.pieces(), {}, comm::Communicator::self());
    EXPECT_EQ(report.warnings.size(), 1u) << point;
    EXPECT_EQ(loaded_step(), 4);
    EXPECT_TRUE(work_in_progress().empty());
    fs::remove_all(run + "/checkpoints");
    save_step(1), save_step(2);
  }
}

TEST_F(SaveFault, a_directory_that_cannot_be_written_is_a_clean_error) {
  test::write_file(directory / "file", "");
  auto shard = test::make_shard(Split::replicated, 0, 1, 1);
  auto const e = test::error_of(
      [&] { save(directory / "file/run", test::make_state(1), shard.pieces(), {}, comm::Communicator::self()); });
  EXPECT_EQ(e.code, "checkpoint.save.failed");
  EXPECT_NE(e.subject.find("file/run"), std::string::npos);
}

}  // namespace
}  // namespace lamina::checkpoint
