#include "lamina/train/run_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::train {
namespace {

using nlohmann::json;
using ::testing::ContainsRegex;

TEST(RunDirectory, is_made_and_holds_config_record_and_status) {
  test::TemporaryDirectory const dir;
  auto const path = dir / "a/b/run";
  RunDirectory const run(path);
  EXPECT_FALSE(run.existed());
  run.write_config("[run]\n");
  run.write_record({"lamina", "train"}, {"n1", "n2"}, "abc");
  run.write_record({"lamina", "train", "--steps", "5"}, {"n1"}, "def");
  run.write_status("failed", ExitCode::numerical, "loss \"nan\"", 7, 3);
  EXPECT_EQ(test::read_file(path + "/config.toml"), "[run]\n");
  auto const record = json::parse(test::read_file(path + "/record.json"));
  ASSERT_EQ(record["starts"].size(), 2u);
  EXPECT_EQ(record["starts"][0]["hosts"], (json{"n1", "n2"}));
  EXPECT_EQ(record["starts"][1]["plan_hash"], "def");
  for (auto const* library : {"MPI", "HDF5", "Kokkos", "oneDNN"}) {
    EXPECT_THAT(record["starts"][1]["libraries"].value(library, ""), ContainsRegex("^none$|[0-9]+[.][0-9]+"))
        << library;
  }
  auto const status = json::parse(test::read_file(path + "/status.json"));
  EXPECT_EQ(status["state"], "failed");
  EXPECT_EQ(status["exit_code"], 6);
  EXPECT_EQ(status["step"], 7);
  EXPECT_EQ(status["rank"], 3);
  EXPECT_EQ(status["reason"], "loss \"nan\"");
}

TEST(RunDirectory, takes_the_word_of_another_rank_only_while_the_run_goes_on) {
  test::TemporaryDirectory const dir;
  auto const path = dir / "run";
  auto const status = [&] { return json::parse(test::read_file(path + "/status.json")); };
  RunDirectory const run(path);
  write_failure(path, ExitCode::bad_input, "nobody was here", 1, 2);
  EXPECT_FALSE(std::filesystem::exists(path + "/status.json"));
  run.write_status("running", ExitCode::ok, "", 4, 0);
  write_failure(path, ExitCode::bad_input, "a token", 5, 2);
  EXPECT_EQ(status()["state"], "failed");
  EXPECT_EQ(status()["exit_code"], 3);
  EXPECT_EQ(status()["step"], 5);
  EXPECT_EQ(status()["rank"], 2);
  write_failure(path, ExitCode::internal, "later", 6, 1);
  EXPECT_EQ(status()["reason"], "a token");
}

TEST(RunDirectory, writes_json_whatever_bytes_names_have) {
  test::TemporaryDirectory const dir;
  auto const path = dir / "run";
  RunDirectory const run(path);
  run.write_record({"lamina", "train", "latin\xe4.toml"}, {"n1"}, "abc");
  run.write_status("failed", ExitCode::bad_input, "data file 'latin\xe4'", 0, 0);
  for (auto const* name : {"/record.json", "/status.json"})
    EXPECT_FALSE(json::parse(test::read_file(path + name), nullptr, false).is_discarded()) << name;
}

TEST(RunDirectory, belongs_to_one_job_at_a_time) {
  test::TemporaryDirectory const dir;
  auto const path = dir / "run";
  // The other job is a process of its own that is killed without a chance to clean up.
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  auto const other = ::fork();
  if (other == 0) {
    RunDirectory const run(path);
    char const byte = 1;
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  auto const error = test::error_of([&] { RunDirectory const run(path); });
  EXPECT_EQ(error.code, "train.run_dir.locked");
  EXPECT_EQ(exit_code_of(error.code), ExitCode::environment);
  EXPECT_NE(error.found.find("process " + std::to_string(other)), std::string::npos) << error.found;
  ::kill(other, SIGKILL);
  ::waitpid(other, nullptr, 0);
  RunDirectory const taken_over(path);
  ::close(ready[0]), ::close(ready[1]);
}

TEST(RunDirectory, fresh_moves_the_earlier_run_aside_and_deletes_nothing) {
  test::TemporaryDirectory const dir;
  auto const path = dir / "run";
  for (int i = 0; i < 3; ++i) {
    RunDirectory run(path);
    EXPECT_EQ(run.existed(), i > 0);
    EXPECT_EQ(run.move_aside(), i == 0 ? "" : path + "." + std::to_string(i));
    EXPECT_FALSE(run.existed());
    EXPECT_EQ(test::error_of([&] { RunDirectory const other(path); }).code, "train.run_dir.locked");
    run.write_record({std::to_string(i)}, {}, "");
  }
  EXPECT_TRUE(RunDirectory(path + "/").existed());
  auto const first = json::parse(test::read_file(path + ".1/record.json"));
  EXPECT_EQ(first["starts"][0]["command_line"][0], "0");
}

TEST(RunDirectory, that_cannot_be_made_is_a_file_system_error) {
  test::TemporaryDirectory const dir;
  test::write_file(dir / "file", "x");
  auto const error = test::error_of([&] { RunDirectory const run(dir / "file/run"); });
  EXPECT_EQ(exit_code_of(error.code), ExitCode::file_system);
}

TEST(WriteAtomically, leaves_no_temporary_file_behind) {
  test::TemporaryDirectory const dir;
  write_atomically(dir / "x", "one");
  write_atomically(dir / "x", "two");
  EXPECT_EQ(test::read_file(dir / "x"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

}  // namespace
}  // namespace lamina::train
