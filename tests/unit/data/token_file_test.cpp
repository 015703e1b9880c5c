#include "lamina/data/token_file.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <vector>

#include "lamina/data/source.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::data {
namespace {

using test::error_of;
using test::raw;

std::vector<std::int32_t> all_tokens(TokenFile const& file) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(file.tokens()));
  file.read(0, file.tokens(), 0, tokens.data());
  return tokens;
}

std::string llmc(std::int32_t magic, std::int32_t version, std::int32_t count, std::string const& tokens) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = magic, header[1] = version, header[2] = count;
  return raw(header) + tokens;
}

/// A Megatron index of the given parts, right unless a test makes it wrong.
struct Index {
  std::string magic{"MMIDIDX\0\0", 9};
  std::uint64_t version = 1;
  std::uint8_t dtype = 8;
  std::vector<std::int32_t> lengths{3, 0, 4};
  std::vector<std::int64_t> offsets{0, 6, 6};
  std::vector<std::int64_t> documents{0, 1, 3};
  std::uint64_t sequences = 3, boundaries = 3;

  std::string bytes() const {
    return magic + raw(std::vector{version}) + std::string(1, static_cast<char>(dtype)) + raw(std::vector{sequences}) +
           raw(std::vector{boundaries}) + raw(lengths) + raw(offsets) + raw(documents);
  }
};

class TokenFiles : public ::testing::Test {
 protected:
  test::TemporaryDirectory dir_;
  std::vector<std::uint16_t> const seven_{1, 2, 3, 40000, 65535, 0, 7};

  std::string megatron_error(std::function<void(Index&)> const& spoil) {
    Index index;
    spoil(index);
    test::write_file(dir_ / "m.idx", index.bytes());
    test::write_file(dir_ / "m.bin", raw(seven_));
    auto const error = error_of([&] { open_tokens(dir_ / "m.idx"); });
    EXPECT_NE(error.subject.find(dir_ / "m.idx"), std::string::npos);
    EXPECT_NE(error.subject.find("offset "), std::string::npos);
    return error.code;
  }
};

TEST_F(TokenFiles, of_nanogpt_llmc_and_megatron_are_recognised_by_content) {
  std::vector<std::int32_t> const expected(seven_.begin(), seven_.end());
  auto const nanogpt = open_tokens(test::write_file(dir_ / "a.bin", raw(seven_)));
  EXPECT_EQ(nanogpt->format, "nanogpt");
  EXPECT_EQ(all_tokens(*nanogpt), expected);
  auto const llm_c = open_tokens(test::write_file(dir_ / "b.bin", llmc(20240520, 1, 7, raw(seven_))));
  EXPECT_EQ(llm_c->format, "llm.c");
  EXPECT_EQ(all_tokens(*llm_c), expected);
  std::vector<std::uint32_t> const wide{128000, 5, 9};
  auto const llama = open_tokens(test::write_file(dir_ / "c.bin", llmc(20240801, 7, 3, raw(wide))));
  EXPECT_EQ(llama->format, "llm.c-llama3");
  EXPECT_EQ(all_tokens(*llama), (std::vector<std::int32_t>{128000, 5, 9}));
  test::write_file(dir_ / "m.idx", Index().bytes());
  test::write_file(dir_ / "m.bin", raw(seven_));
  for (auto const* name : {"m.idx", "m.bin"}) {
    auto const megatron = open_tokens(dir_ / name);
    EXPECT_EQ(megatron->format, "megatron");
    EXPECT_EQ(megatron->documents, 2);
    EXPECT_EQ(all_tokens(*megatron), expected);
  }
}

TEST_F(TokenFiles, that_are_malformed_are_refused_with_file_and_offset) {
  EXPECT_EQ(error_of([&] { open_tokens(test::write_file(dir_ / "empty.bin", "")); }).code, "data.nanogpt.size");
  EXPECT_EQ(error_of([&] { open_tokens(test::write_file(dir_ / "odd.bin", "abc")); }).code, "data.nanogpt.size");
  EXPECT_EQ(error_of([&] { open_tokens(dir_ / "missing.bin"); }).code, "data.file.open");
  EXPECT_EQ(error_of([&] { open_tokens(dir_.path()); }).code, "data.file.open");
  auto const llmc_error = [&](std::string const& content) {
    auto const error = error_of([&] { open_tokens(test::write_file(dir_ / "x.bin", content)); });
    EXPECT_NE(error.subject.find("offset "), std::string::npos);
    return error.code;
  };
  EXPECT_EQ(llmc_error(llmc(20240520, 2, 7, raw(seven_))), "data.llmc.version");
  EXPECT_EQ(llmc_error(llmc(20240801, 1, 7, raw(seven_))), "data.llmc.version");
  EXPECT_EQ(llmc_error(llmc(20240520, 1, -1, raw(seven_))), "data.llmc.count");
  EXPECT_EQ(llmc_error(llmc(20240520, 1, 0, "")), "data.llmc.count");
  EXPECT_EQ(llmc_error(llmc(20240520, 1, 8, raw(seven_))), "data.llmc.size");
  EXPECT_EQ(llmc_error(llmc(20240520, 1, 6, raw(seven_))), "data.llmc.size");
  EXPECT_EQ(llmc_error(llmc(20240522, 1, 7, raw(seven_))), "data.llmc.eval_file");
}

TEST_F(TokenFiles, of_megatron_have_every_part_of_the_index_checked) {
  EXPECT_EQ(megatron_error([](Index& i) { i.magic[0] = 'X'; }), "data.megatron.magic");
  EXPECT_EQ(megatron_error([](Index& i) { i.version = 2; }), "data.megatron.version");
  EXPECT_EQ(megatron_error([](Index& i) { i.dtype = 7; }), "data.megatron.dtype");
  EXPECT_EQ(megatron_error([](Index& i) { i.dtype = 99; }), "data.megatron.dtype");
  EXPECT_EQ(megatron_error([](Index& i) { i.sequences = ~std::uint64_t{0}; }), "data.megatron.count");
  EXPECT_EQ(megatron_error([](Index& i) { i.boundaries = std::uint64_t{1} << 62; }), "data.megatron.count");
  EXPECT_EQ(megatron_error([](Index& i) { i.sequences = 2; }), "data.megatron.size");
  EXPECT_EQ(megatron_error([](Index& i) { i.boundaries = 2; }), "data.megatron.size");
  // Counts that agree with the size of the file, and with nothing else.
  EXPECT_EQ(megatron_error([](Index& i) { i.boundaries = 0, i.documents = {}; }), "data.megatron.count");
  EXPECT_EQ(megatron_error([](Index& i) { i.boundaries = 1, i.documents = {0}; }), "data.megatron.document");
  EXPECT_EQ(megatron_error([](Index& i) { i.sequences = 0, i.lengths = {}, i.offsets = {}; }), "data.megatron.count");
  EXPECT_EQ(megatron_error([](Index& i) { i.lengths = {0, 0, 0}, i.offsets = {0, 0, 0}; }), "data.megatron.tokens");
  EXPECT_EQ(megatron_error([](Index& i) { i.lengths[1] = -1; }), "data.megatron.length");
  EXPECT_EQ(megatron_error([](Index& i) { i.offsets[2] = 4; }), "data.megatron.offset");
  EXPECT_EQ(megatron_error([](Index& i) { i.documents[0] = 1; }), "data.megatron.document");
  EXPECT_EQ(megatron_error([](Index& i) { i.documents[1] = -3; }), "data.megatron.document");
  EXPECT_EQ(megatron_error([](Index& i) { i.documents[2] = 2; }), "data.megatron.document");
  EXPECT_EQ(megatron_error([](Index& i) { i.lengths[2] = 5; }), "data.megatron.tokens");
}

TEST_F(TokenFiles, with_a_token_outside_the_vocabulary_name_its_byte_offset) {
  auto const file = open_tokens(test::write_file(dir_ / "a.bin", raw(seven_)));
  std::vector<std::int32_t> out(7);
  file->read(0, 3, 4, out.data());
  auto const error = error_of([&] { file->read(0, 7, 4, out.data()); });
  EXPECT_EQ(error.code, "data.tokens.range");
  EXPECT_NE(error.subject.find("offset 6"), std::string::npos) << error.subject;
}

TEST_F(TokenFiles, that_shrink_while_they_are_open_give_an_error) {
  auto const path = test::write_file(dir_ / "a.bin", raw(seven_));
  auto const file = open_tokens(path);
  std::filesystem::resize_file(path, 4);
  std::vector<std::int32_t> out(7);
  EXPECT_EQ(error_of([&] { file->read(0, 7, 0, out.data()); }).code, "data.file.short");
}

TEST_F(TokenFiles, beyond_4_gib_are_read_at_the_right_offset) {
  auto const path = dir_ / "big.bin";
  std::int64_t const count = (std::int64_t{4} << 30) / 2 + 1001;  // sparse: takes no disk
  test::write_file(path, "");
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(count * 2));
  {
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp((count - 3) * 2);
    f.write("\x11\x22", 2);
  }
  auto const file = open_tokens(path);
  std::int32_t token = 0;
  file->read(count - 3, 1, 0, &token);
  EXPECT_EQ(token, 0x2211);
}

void read(Source const& source, std::int64_t sample, std::int32_t* inputs, std::int32_t* targets) {
  std::vector<void*> const places{inputs, targets};
  source.fill(sample, places);
}

TEST_F(TokenFiles, give_samples_that_overlap_by_one_token_and_never_cross_files) {
  std::vector<std::uint16_t> ten(10), five(5), three(3);
  std::iota(ten.begin(), ten.end(), std::uint16_t{0});
  std::iota(five.begin(), five.end(), std::uint16_t{100});
  test::write_file(dir_ / "t_b.bin", raw(five));
  test::write_file(dir_ / "t_a.bin", raw(ten));
  test::write_file(dir_ / "t_c.bin", raw(three));  // too short for a sample
  config::Data config;
  config.kind = "tokens";
  config.train = {dir_ / "t_*.bin"};
  auto const sources = open(config, {.tokens = 4, .vocab = 200});
  ASSERT_EQ(sources.train->samples(), 2 + 1);
  std::vector<std::int32_t> inputs(4), targets(4);
  read(*sources.train, 1, inputs.data(), targets.data());
  EXPECT_EQ(inputs, (std::vector{4, 5, 6, 7}));
  EXPECT_EQ(targets, (std::vector{5, 6, 7, 8}));
  read(*sources.train, 2, inputs.data(), targets.data());
  EXPECT_EQ(inputs, (std::vector{100, 101, 102, 103}));
  EXPECT_EQ(targets, (std::vector{101, 102, 103, 104}));
}

TEST_F(TokenFiles, of_names_that_look_like_patterns_are_taken_as_they_are) {
  std::filesystem::create_directory(dir_ / "a [1]*");
  config::Data config;
  config.kind = "tokens";
  config.train = {test::write_file(dir_ / "a [1]*/x{2}.bin", raw(seven_))};
  EXPECT_EQ(open(config, {.tokens = 3}).train->samples(), 2);
}

TEST_F(TokenFiles, that_no_pattern_matches_name_a_near_one) {
  test::write_file(dir_ / "train_000.bin", "ab");
  config::Data config;
  config.kind = "tokens";
  config.train = {dir_ / "trian_000.bin"};
  auto const error = error_of([&] { open(config, {.tokens = 4}); });
  EXPECT_EQ(error.code, "data.files.none");
  EXPECT_NE(error.fix.find("train_000.bin"), std::string::npos);
}

TEST_F(TokenFiles, can_hold_out_a_fraction_of_the_samples) {
  std::vector<std::uint16_t> tokens(4 * 10 + 1);
  std::iota(tokens.begin(), tokens.end(), std::uint16_t{0});
  config::Data config;
  config.kind = "tokens";
  config.train = {test::write_file(dir_ / "a.bin", raw(tokens))};
  config.valid_fraction = 0.25;
  auto const sources = open(config, {.tokens = 4});
  EXPECT_EQ(sources.train->samples(), 7);
  ASSERT_EQ(sources.valid->samples(), 3);
  std::vector<std::int32_t> inputs(4), targets(4);
  read(*sources.valid, 0, inputs.data(), targets.data());
  EXPECT_EQ(inputs[0], 28);
  config.train = {test::write_file(dir_ / "one.bin", raw(std::vector<std::uint16_t>(5)))};
  EXPECT_EQ(error_of([&] { open(config, {.tokens = 4}); }).code, "data.valid.short");
  EXPECT_EQ(error_of([&] { open(config, {.tokens = 5}); }).code, "data.train.short");
}

}  // namespace
}  // namespace lamina::data
