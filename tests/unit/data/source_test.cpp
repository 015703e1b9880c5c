#include "lamina/data/source.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "lamina/data/tokenizer.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::data {
namespace {

using test::error_of;
using test::raw;

class Samples : public ::testing::Test {
 protected:
  config::Data tokens(std::vector<std::string> files) {
    config::Data config;
    config.kind = "tokens";
    config.train = std::move(files);
    config.shuffle = false;
    return config;
  }
  /// A nanoGPT shard of zeros with one token that no vocabulary here has.
  config::Data shard(std::size_t count, std::size_t bad) {
    std::vector<std::uint16_t> values(count);
    values[bad] = 999;
    return tokens({test::write_file(dir_ / "shard.bin", raw(values))});
  }
  void write_pair(std::string const& stem) {
    std::vector<std::uint16_t> const values{1, 2, 3, 4, 5, 6, 7, 8, 9};
    auto const index = std::string("MMIDIDX\0\0", 9) + raw<std::uint64_t>({1}) + '\x08' + raw<std::uint64_t>({1, 2}) +
                       raw<std::int32_t>({9}) + raw<std::int64_t>({0, 0, 1});
    test::write_file(dir_ / (stem + ".idx"), index);
    test::write_file(dir_ / (stem + ".bin"), raw(values));
  }

  test::TemporaryDirectory dir_;
};

TEST_F(Samples, of_a_small_file_have_every_token_checked_when_they_are_opened) {
  auto const error = error_of([&] { open(shard(1000, 500), {.tokens = 9, .vocab = 11}); });
  EXPECT_EQ(error.code, "data.tokens.range");
  EXPECT_NE(error.subject.find("shard.bin', offset 1000"), std::string::npos) << error.subject;
}

TEST_F(Samples, of_a_large_file_have_both_ends_checked_when_they_are_opened) {
  CheckLimits const limits{.whole_bytes = 1999, .end_bytes = 200};
  for (std::size_t const bad : {0, 99, 900, 999}) {
    auto const error = error_of([&] { open(shard(1000, bad), {.tokens = 9, .vocab = 11}, limits); });
    EXPECT_EQ(error.code, "data.tokens.range");
    EXPECT_NE(error.subject.find("offset " + std::to_string(2 * bad)), std::string::npos) << error.subject;
  }
  for (std::size_t const bad : {100, 899})
    EXPECT_NO_THROW(open(shard(1000, bad), {.tokens = 9, .vocab = 11}, limits)) << bad;
  // Ends that meet are the whole file.
  EXPECT_EQ(
      error_of([&] { open(shard(1000, 500), {.tokens = 9, .vocab = 11}, {.whole_bytes = 0, .end_bytes = 1000}); }).code,
      "data.tokens.range");
}

TEST_F(Samples, of_a_large_file_refuse_a_bad_token_in_its_middle_whenever_it_is_met) {
  auto const sources = open(shard(1000, 500), {.tokens = 10, .vocab = 11}, {.whole_bytes = 0, .end_bytes = 100});
  auto const& source = dynamic_cast<TokenSource const&>(*sources.train);
  std::vector<std::int32_t> inputs(20), targets(20);
  // Token 500 is the last target of sample 49 and the first input of sample 50.
  for (std::int64_t const sample : {48, 51}) EXPECT_NO_THROW(source.read(sample, inputs.data(), targets.data()));
  for (std::int64_t const sample : {49, 50}) {
    auto const error = error_of([&] { source.read(sample, inputs.data(), targets.data()); });
    EXPECT_EQ(exit_code_of(error.code), ExitCode::bad_input);
    EXPECT_NE(error.subject.find("shard.bin', offset 1000"), std::string::npos) << error.subject;
    EXPECT_NE(error.found.find("999"), std::string::npos);
  }
  // Two samples a step: steps 1 to 24 are good, and prefetching step 25 spoils none of them.
  std::vector<void*> const to{inputs.data(), targets.data()};
  Feeder feeder(source, Portion::even(2, 2, 0, 1), 2, false, 1);
  for (std::int64_t step = 1; step <= 24; ++step) EXPECT_NO_THROW(feeder.read(step, 0, to)) << step;
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(error_of([&] { feeder.read(25, 0, to); }).code, "data.tokens.range");
  }
}

TEST_F(Samples, of_megatron_listed_by_both_names_count_once) {
  write_pair("x"), write_pair("y");
  auto const samples = [&](std::vector<std::string> names) {
    for (auto& name : names) name = dir_ / name;
    return open(tokens(std::move(names)), {.tokens = 4, .vocab = 11}).train->samples();
  };
  EXPECT_EQ(samples({"x.bin"}), 2);
  EXPECT_EQ(samples({"x.idx"}), 2);
  EXPECT_EQ(samples({"x.idx", "x.bin"}), 2);
  EXPECT_EQ(samples({"x.bin", "x.idx"}), 2);
  EXPECT_EQ(samples({"x.*"}), 2);
  EXPECT_EQ(samples({"*"}), 4);
  EXPECT_EQ(samples({"*.idx", "*.bin"}), 4);
  EXPECT_EQ(samples({"x.idx", "y.idx", "../" + std::filesystem::path(dir_.path()).filename().string() + "/x.bin"}), 4);
  EXPECT_EQ(samples({"x.bin", "x.bin"}), 4);  // the same name twice: asked for
}

TEST_F(Samples, know_a_tokenizer_by_its_content) {
  EXPECT_EQ(tokenizer_hash("bytes"), "");
  auto const path = test::write_file(dir_ / "tokenizer.json", "{}");
  auto const hash = tokenizer_hash(path);
  EXPECT_EQ(hash.size(), 32u);
  EXPECT_EQ(tokenizer_hash(test::write_file(dir_ / "copy.json", "{}")), hash);
  EXPECT_NE(tokenizer_hash(test::write_file(path, "{ }")), hash);
}

}  // namespace
}  // namespace lamina::data
