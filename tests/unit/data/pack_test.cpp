#include "lamina/data/pack.hpp"

#include <gtest/gtest.h>

#include "lamina/data/token_file.hpp"
#include "lamina/data/tokenizer.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::data {
namespace {

class Pack : public ::testing::TestWithParam<char const*> {
 protected:
  test::TemporaryDirectory dir_;
};

TEST_P(Pack, writes_shards_that_read_back_as_the_text) {
  auto const first = test::write_file(dir_ / "1.txt", "hello\n"),
             second = test::write_file(dir_ / "2.txt", "world, world");
  PackOptions o;
  o.files = {dir_ / "*.txt"};
  o.output = dir_ / "out.bin";
  o.format = GetParam();
  auto const report = pack(o);
  EXPECT_EQ(report.tokens, 18);
  EXPECT_EQ(report.documents, 2);
  ASSERT_EQ(report.shards, std::vector<std::string>{o.output});
  auto const file = open_tokens(o.output);
  EXPECT_EQ(file->format, GetParam());
  std::vector<std::int32_t> tokens(18);
  ASSERT_EQ(file->tokens(), 18);
  file->read(0, 18, 256, tokens.data());
  EXPECT_EQ(Tokenizer::open("bytes").decode(tokens), "hello\nworld, world");
  EXPECT_EQ(file->documents, file->format == "megatron" ? 2 : -1);
}

TEST_P(Pack, cuts_shards_at_the_asked_number_of_tokens) {
  test::write_file(dir_ / "1.txt", "abcdefg");
  test::write_file(dir_ / "2.txt", "hij");
  PackOptions o;
  o.files = {dir_ / "*.txt"};
  o.output = dir_ / "out.bin";
  o.format = GetParam();
  o.shard_tokens = 4;
  auto const report = pack(o);
  ASSERT_EQ(report.shards.size(), 3u);
  EXPECT_EQ(open_tokens(report.shards[0])->tokens(), 4);
  EXPECT_EQ(open_tokens(report.shards[2])->tokens(), 2);
}

INSTANTIATE_TEST_SUITE_P(formats, Pack, ::testing::Values("nanogpt", "llm.c", "megatron"));

TEST(PackOf, text_with_a_tokenizer_ends_each_document) {
  test::TemporaryDirectory const dir;
  test::write_file(dir / "1.txt", "free software");
  test::write_file(dir / "2.txt", "license");
  PackOptions o;
  o.files = {dir / "*.txt"};
  o.output = dir / "out.bin";
  o.tokenizer = LAMINA_TEST_DATA "/data/tokenizer_small.json";
  pack(o);
  auto const file = open_tokens(o.output);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(file->tokens()));
  file->read(0, file->tokens(), 0, tokens.data());
  EXPECT_EQ(Tokenizer::open(o.tokenizer).decode(tokens), "free software<|endoftext|>license<|endoftext|>");
}

TEST(PackOf, nothing_or_into_nowhere_is_refused) {
  test::TemporaryDirectory const dir;
  PackOptions o;
  o.files = {test::write_file(dir / "1.txt", "")};
  o.output = dir / "out.bin";
  EXPECT_EQ(test::error_of([&] { pack(o); }).code, "data.pack.empty");
  o.files = {test::write_file(dir / "2.txt", "x")};
  o.output = dir / "missing/out.bin";
  EXPECT_EQ(test::error_of([&] { pack(o); }).code, "data.write.open");
  o.output = dir / "out.txt";
  EXPECT_EQ(test::error_of([&] { pack(o); }).code, "data.pack.output");
}

}  // namespace
}  // namespace lamina::data
