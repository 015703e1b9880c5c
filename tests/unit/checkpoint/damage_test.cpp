#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "checkpoint/detail/manifest.hpp"
#include "lamina/base/fault.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "support/checkpoint_cases.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::Split;

/// Checkpoints of steps 1 and 2 in two files each; something happens to step 2.
class Damage : public ::testing::Test {
 protected:
  Damage() { save_step(1), save_step(2); }
  ~Damage() override { fault::configure(""); }

  void save_step(std::int64_t step) {
    auto shard = test::make_shard(Split::replicated, 0, 1, step);
    save(run, test::make_state(step), shard.pieces(), {.files = 2}, world);
  }
  /// Loads; the damage must have been passed over with a reason that contains `words`.
  void expect_fall_back(std::vector<std::string> const& words) {
    auto shard = test::make_shard(Split::replicated, 0, 1, -1);
    auto const found = load(run, -1, shard.pieces(), world);
    EXPECT_EQ(found.state.step, 1);
    EXPECT_EQ(shard.wrong(1), 0);
    ASSERT_EQ(found.skipped.size(), 1u);
    for (auto const& w : words) EXPECT_NE(found.skipped[0].find(w), std::string::npos) << found.skipped[0];
  }
  /// `verify` must name the problem too.
  void expect_problem(std::vector<std::string> const& words) {
    auto const problems = verify(two);
    ASSERT_FALSE(problems.empty());
    for (auto const& w : words) EXPECT_NE(problems[0].find(w), std::string::npos) << problems[0];
  }
  detail::TensorEntry tensor(std::string const& name, Role role) const {
    auto const m = detail::read_manifest(two);
    return m.tensors[static_cast<std::size_t>(detail::find_tensor(m, name, role))];
  }
  std::string file_of(detail::TensorEntry const& t) const { return "tensors-" + std::to_string(t.file) + ".h5"; }

  test::TemporaryDirectory directory;
  std::string run = directory / "run", two = run + "/checkpoints/step-00000002";
  comm::Communicator world = comm::Communicator::self();
};

TEST_F(Damage, none_is_no_problem) {
  EXPECT_TRUE(verify(two).empty());
  EXPECT_EQ(peek(run, -1).state.step, 2);
}

TEST_F(Damage, by_a_flipped_bit_in_the_first_or_last_byte_of_any_tensor_is_found_and_named) {
  auto const m = detail::read_manifest(two);
  for (auto const& t : m.tensors) {
    for (auto const byte : {t.offset, t.offset + t.spec.bytes() - 1}) {
      if (t.spec.count() == 0) continue;
      auto const path = two + "/" + file_of(t);
      test::flip_bit(path, byte);
      expect_problem({file_of(t), detail::label_of(t), "checksum"});
      test::flip_bit(path, byte);
    }
  }
  EXPECT_TRUE(verify(two).empty());
}

TEST_F(Damage, by_a_flipped_bit_is_passed_over_when_loading) {
  auto const t = tensor("blocks.0.attn.out.weight", Role::moment2);
  test::flip_bit(two + "/" + file_of(t), t.offset + 1001);
  expect_fall_back({"step-00000002", file_of(t), "moments2/blocks.0.attn.out.weight", "checksum"});
}

TEST_F(Damage, by_a_zeroed_page_is_found) {
  auto const t = tensor("blocks.0.attn.out.weight", Role::parameter);
  std::fstream f(two + "/" + file_of(t), std::ios::in | std::ios::out | std::ios::binary);
  f.seekp(t.offset + 4096);
  f.write(std::string(4096, '\0').data(), 4096);
  f.close();
  expect_fall_back({file_of(t), "parameters/blocks.0.attn.out.weight"});
  expect_problem({file_of(t), "parameters/blocks.0.attn.out.weight"});
}

TEST_F(Damage, to_the_bytes_that_only_hdf5_reads_is_found_by_verify_before_hdf5_opens_the_file) {
  for (std::int64_t byte : {0, 9, 100, 700, 1500}) {
    test::flip_bit(two + "/tensors-0.h5", byte);
    expect_problem({"tensors-0.h5", "HDF5's own bytes"});
    test::flip_bit(two + "/tensors-0.h5", byte);
  }
}

TEST_F(Damage, by_cutting_or_extending_a_file_is_found) {
  auto const path = two + "/tensors-1.h5";
  auto const size = fs::file_size(path);
  for (auto const n : {size - 1, size + 1, std::uintmax_t{0}}) {
    fs::resize_file(path, n);
    expect_fall_back({"tensors-1.h5", std::to_string(n) + " bytes", std::to_string(size)});
    expect_problem({"tensors-1.h5", std::to_string(n) + " bytes"});
  }
}

TEST_F(Damage, by_removing_a_file_or_the_manifest_is_found) {
  fs::rename(two + "/tensors-1.h5", directory / "aside");
  expect_fall_back({"tensors-1.h5", "No such file"});
  expect_problem({"tensors-1.h5", "No such file"});
  fs::rename(directory / "aside", two + "/tensors-1.h5");
  fs::remove(two + "/manifest.json");
  expect_fall_back({"manifest.json", "No such file"});
  expect_problem({"manifest.json", "No such file"});
}

TEST_F(Damage, by_a_file_of_another_step_is_found) {
  fs::copy_file(run + "/checkpoints/step-00000001/tensors-0.h5", two + "/tensors-0.h5",
                fs::copy_options::overwrite_existing);
  expect_fall_back({"tensors-0.h5", "checksum"});
  expect_problem({"tensors-0.h5", "checksum"});
}

TEST_F(Damage, by_exchanged_files_or_a_renamed_directory_is_found) {
  fs::rename(two + "/tensors-0.h5", two + "/x");
  fs::rename(two + "/tensors-1.h5", two + "/tensors-0.h5");
  fs::rename(two + "/x", two + "/tensors-1.h5");
  expect_fall_back({"tensors-0.h5"});
  fs::remove_all(two);
  fs::copy(run + "/checkpoints/step-00000001", two);
  expect_fall_back({"step-00000002", "a manifest of step 1"});
  expect_problem({"step-00000002", "a manifest of step 1"});
}

TEST_F(Damage, that_leaves_no_complete_checkpoint_is_still_found_by_its_directory) {
  fs::remove(two + "/manifest.json");
  EXPECT_EQ(list(run).size(), 1u);
  EXPECT_EQ(directories(run), (std::vector{run + "/checkpoints/step-00000001", two}));
  EXPECT_EQ(directories(two), std::vector{two});
  expect_problem({"manifest.json"});
}

TEST_F(Damage, by_a_link_out_of_the_directory_is_refused) {
  fs::rename(two + "/tensors-0.h5", directory / "elsewhere");
  fs::create_symlink(directory / "elsewhere", two + "/tensors-0.h5");
  expect_fall_back({"tensors-0.h5"});
}

TEST_F(Damage, to_the_manifest_is_found) {
  auto const path = two + "/manifest.json";
  auto const whole = test::read_file(path);
  test::write_file(path, whole.substr(0, whole.size() / 2));
  expect_fall_back({"manifest.json", "byte"});
  test::write_file(path, "");
  expect_fall_back({"manifest.json", "byte 0"});
  auto newer = whole;
  newer.replace(newer.find("\"version\": 1"), 12, "\"version\": 9");
  test::write_file(path, newer);
  expect_fall_back({"format version 9", "written by lamina", "this is lamina"});
  auto changed = whole;
  changed.replace(changed.find("\"tokens\": 2000"), 14, "\"tokens\": 2001");
  test::write_file(path, changed);
  expect_fall_back({"manifest.json", "checksum"});
}

TEST_F(Damage, everywhere_leaves_nothing_valid_and_every_reason_is_told) {
  test::flip_bit(two + "/manifest.json", 400);
  fs::remove(run + "/checkpoints/step-00000001/tensors-0.h5");
  auto shard = test::make_shard(Split::replicated, 0, 1, -1);
  auto const e = test::error_of([&] { load(run, -1, shard.pieces(), world); });
  EXPECT_EQ(e.code, "checkpoint.load.none_valid");
  EXPECT_EQ(exit_code_of(e.code), ExitCode::bad_input);
  EXPECT_NE(e.found.find("step-00000001: "), std::string::npos) << e.found;
  EXPECT_NE(e.found.find("step-00000002: "), std::string::npos) << e.found;
  auto const peeked = peek(run, -1);
  EXPECT_FALSE(peeked.any);
  EXPECT_EQ(peeked.skipped.size(), 2u);
  EXPECT_TRUE(list(run).empty());
}

TEST_F(Damage, to_the_step_that_was_asked_for_is_no_reason_to_load_another) {
  fs::remove(two + "/tensors-0.h5");
  auto shard = test::make_shard(Split::replicated, 0, 1, -1);
  EXPECT_EQ(test::error_of([&] { load(run, 2, shard.pieces(), world); }).code, "checkpoint.load.none_valid");
}

TEST_F(Damage, is_told_completely_by_verify) {
  auto const a = tensor("embed.tokens.weight", Role::parameter), b = tensor("embed.tokens.weight", Role::moment1);
  test::flip_bit(two + "/" + file_of(a), a.offset);
  test::flip_bit(two + "/" + file_of(b), b.offset);
  test::write_file(two + "/notes.txt", "mine");
  auto const problems = verify(two);
  EXPECT_EQ(problems.size(), 3u);
  EXPECT_NE(problems.back().find("notes.txt"), std::string::npos);
}

TEST_F(Damage, on_the_way_to_the_disk_or_back_is_found) {
  fault::configure("checkpoint.write:bitflip:*:3");
  save_step(3);
  EXPECT_EQ(verify(run + "/checkpoints/step-00000003").size(), 1u);
  auto shard = test::make_shard(Split::replicated, 0, 1, -1);
  EXPECT_EQ(load(run, -1, shard.pieces(), world).state.step, 2);
}

TEST_F(Damage, by_a_disk_that_cannot_be_read_is_passed_over) {
  fault::configure("checkpoint.load.read:EIO:*:4");
  expect_fall_back({"tensors-", "read at byte", "Input/output error"});
}

}  // namespace
}  // namespace lamina::checkpoint
