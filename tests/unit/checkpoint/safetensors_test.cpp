#include "lamina/checkpoint/safetensors.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>

#include "lamina/base/text.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::checkpoint {
namespace {

std::string const data = std::string(LAMINA_TEST_DATA) + "/checkpoint";

std::string file_of(std::string const& header, std::string const& bytes) {
  std::uint64_t const length = header.size();
  std::string s(8, '\0');
  std::memcpy(s.data(), &length, 8);
  return s + header + bytes;
}

/// Header with one entry after another: {"name": "members"}.
std::string entry(std::string const& name, std::string const& dtype, std::string const& shape,
                  std::string const& offsets) {
  return text("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":", offsets, "}");
}

bool same_bits(std::vector<float> const& a, std::vector<float> const& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

struct Malformed {
  std::string file, rule;
  std::string place;  // must be in the message
};

void PrintTo(Malformed const& m, std::ostream* out) { *out << m.rule << " at " << m.place; }

class MalformedSafeTensors : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedSafeTensors, are_refused_with_rule_file_and_byte) {
  test::TemporaryDirectory const directory;
  auto const path = test::write_file(directory / "x.safetensors", GetParam().file);
  auto const e = test::error_of([&] { SafeTensors::open(path); });
  EXPECT_EQ(e.code, "checkpoint.safetensors." + GetParam().rule) << e.found;
  EXPECT_EQ(e.subject, path);
  EXPECT_NE(e.found.find(GetParam().place), std::string::npos) << e.found;
  EXPECT_EQ(exit_code_of(e.code), ExitCode::bad_input);
}

std::string const four = "0123";
std::string const good = entry("a", "F32", "[1]", "[0,4]");

std::vector<Malformed> malformed() {
  auto const one = [](std::string const& e, std::string const& bytes = four) { return file_of("{" + e + "}", bytes); };
  std::string huge(8, '\xff');
  std::string too_long(8, '\0');
  std::uint64_t const n = 100'000'001;
  std::memcpy(too_long.data(), &n, 8);
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100'000; ++i) deep += '[';
  return {
      {"", "too_short", "byte 0"},
      {"1234567", "too_short", "byte 7"},
      {huge + "{}", "header_length", "byte 0"},
      {too_long + "{}", "header_length", "byte 0"},
      {file_of("{}   ", "").substr(0, 10), "header_length", "byte 0"},
      {file_of("", ""), "json", "byte 8"},
      {file_of("{\"a\":", ""), "json", "byte 13"},
      {file_of("{\"\xff\":1}", ""), "json", "byte 10"},
      {file_of("{\"\xc0\xaf\":1}", ""), "json", "byte 10"},
      {file_of("\xef\xbb\xbf{}", ""), "json", "byte 8"},
      {file_of(std::string("{}\0x", 4), ""), "json", "byte 10"},
      {file_of("{} {}", ""), "json", "byte 11"},
      {file_of("{'a':1}", ""), "json", "byte 9"},
      {file_of("{\"a\":1e999}", ""), "json", "byte"},
      {file_of("{\"a\":NaN}", ""), "json", "byte"},
      {file_of(deep, ""), "json", "deeper"},
      {file_of("[]", ""), "header", "byte 8"},
      {one(good + "," + good), "duplicate_key", "byte"},
      {one("\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"), "duplicate_key",
       "dtype"},
      {one("\"__metadata__\":[]," + good), "metadata", "byte 23"},
      {one("\"__metadata__\":{\"x\":1}," + good), "metadata", "byte 23"},
      {one("\"__metadata__\":{\"x\":\"1\",\"x\":\"2\"}," + good), "duplicate_key", "x"},
      {one("\"a\":1"), "field", "byte 12: a"},
      {one("\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}"), "field", "a.dtype"},
      {one("\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}"), "field", "a.shape"},
      {one("\"a\":{\"dtype\":\"F32\",\"shape\":[1]}"), "field", "a.data_offsets"},
      {one(entry("a", "F33", "[1]", "[0,4]")), "dtype", "byte 12"},
      {one(entry("a", "f32", "[1]", "[0,4]")), "dtype", "byte 12"},
      {one(entry("a", "F32", "[-1]", "[0,4]")), "field", "a.shape"},
      {one(entry("a", "F32", "[1.0]", "[0,4]")), "field", "a.shape"},
      {one(entry("a", "F32", "[true]", "[0,4]")), "field", "a.shape"},
      {one(entry("a", "F32", "1", "[0,4]")), "field", "a.shape"},
      {one(entry("a", "F32", "[18446744073709551615]", "[0,4]")), "field", "a.shape"},
      {one(entry("a", "F32", "[99999999999999999999999]", "[0,4]")), "field", "a.shape"},
      {one(entry("a", "F32", "[1,1,1,1,1,1,1]", "[0,4]")), "dims", "byte 12"},
      {one(entry("a", "F32", "[4294967296,4294967296]", "[0,4]")), "overflow", "byte 12"},
      {one(entry("a", "F32", "[4294967296,4294967296,0]", "[0,4]")), "overflow", "byte 12"},
      {one(entry("a", "U8", "[2305843009213693952]", "[0,4]")), "overflow", "byte 12"},
      {one(entry("a", "F4", "[1]", "[0,1]"), "0"), "bits", "byte 12"},
      {one(entry("a", "F6_E2M3", "[3]", "[0,2]"), "01"), "bits", "byte 12"},
      {one(entry("a", "F32", "[1]", "[4,0]")), "offsets", "byte 12"},
      {one(entry("a", "F32", "[1]", "[-4,0]")), "field", "data_offsets"},
      {one(entry("a", "F32", "[1]", "[0]")), "field", "data_offsets"},
      {one(entry("a", "F32", "[1]", "[0,4,8]")), "field", "data_offsets"},
      {one(entry("a", "F32", "[1]", "[0,18446744073709551615]")), "field", "data_offsets"},
      {one(entry("a", "F32", "[1]", "[0,3]"), "012"), "size", "byte 12"},
      {one(entry("a", "F32", "[2]", "[0,4]")), "size", "byte 12"},
      {one(entry("a", "F32", "[1]", "[4,8]"), four + four), "hole", "byte 12"},
      {one(good + "," + entry("b", "F32", "[1]", "[8,12]"), four + four + four), "hole", "b begins at 8"},
      {one(good + "," + entry("b", "F32", "[1]", "[2,6]"), four + four), "overlap", "b begins at 2"},
      {one(good + "," + entry("b", "F32", "[1]", "[0,4]")), "overlap", "begins at 0"},
      {one(good, four + "x"), "trailing", "byte"},
      {one(good, ""), "truncated", "byte"},
      {file_of("{}", "x"), "trailing", "byte 10"},
  };
}

INSTANTIATE_TEST_SUITE_P(cases, MalformedSafeTensors, ::testing::ValuesIn(malformed()));

TEST(SafeTensors, accept_what_the_format_allows) {
  test::TemporaryDirectory const directory;
  auto const open = [&](std::string const& content) {
    return SafeTensors::open(test::write_file(directory / "x.safetensors", content)).entries();
  };
  EXPECT_TRUE(open(file_of("{}", "")).empty());
  EXPECT_EQ(open(file_of(" \n{" + good + "} \n\t  ", four)).size(), 1u) << "white space around the header";
  EXPECT_EQ(open(file_of("{\"__metadata__\":{\"format\":\"pt\"}," + good + "}", four)).size(), 1u);
  auto const many =
      open(file_of("{" + entry("empty", "I64", "[0,3]", "[4,4]") + "," + entry("scalar", "F32", "[]", "[0,4]") + "," +
                       entry("half", "F4", "[2,3]", "[4,7]") + "," + entry("e\u00e9", "BOOL", "[1]", "[7,8]") + "}",
                   "01230123"));
  EXPECT_EQ(many.at("scalar").shape, Shape{});
  EXPECT_EQ(many.at("empty").begin, many.at("empty").end);
  EXPECT_EQ(many.at("half").end - many.at("half").begin, 3);
  EXPECT_TRUE(many.contains("e\u00e9"));
}

TEST(SafeTensors, of_the_reference_writer_convert_to_the_bits_that_torch_gives) {
  auto const file = SafeTensors::open(data + "/dtypes.safetensors");
  for (std::string const dtype : {"f16", "bf16", "f64"}) {
    auto const found = file.read(dtype), wanted = file.read(dtype + ".as_f32");
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(std::isnan(found[i]), std::isnan(wanted[i])) << dtype << " " << i;
      EXPECT_TRUE(std::isnan(found[i]) ||
                  std::bit_cast<std::uint32_t>(found[i]) == std::bit_cast<std::uint32_t>(wanted[i]))
          << dtype << " " << i << ": " << found[i] << " " << wanted[i];
    }
  }
  EXPECT_EQ(file.read("scalar"), std::vector<float>{3.0f});
  EXPECT_TRUE(file.read("empty").empty());
  EXPECT_EQ(test::error_of([&] { file.read("i64"); }).code, "checkpoint.safetensors.convert");
  EXPECT_EQ(test::error_of([&] { file.read("none"); }).code, "checkpoint.safetensors.missing");
}

TEST(SafeTensors, that_were_written_read_back_to_the_same_bits_with_aligned_data) {
  test::TemporaryDirectory const directory;
  std::vector<float> const a{1, -0.0f, std::nanf("1"), INFINITY, 5, 6}, b{7}, none;
  auto const path = directory / "x.safetensors";
  write_safetensors(path, {{"z", {2, 3}, &a}, {"b", Shape{}, &b}, {"none", {0, 2}, &none}});
  auto const file = SafeTensors::open(path);
  EXPECT_TRUE(same_bits(file.read("z"), a));
  EXPECT_TRUE(same_bits(file.read("b"), b));
  EXPECT_EQ(file.entries().at("z").shape, (Shape{2, 3}));
  EXPECT_EQ(file.entries().at("z").begin % 8, 0);
  EXPECT_NE(test::read_file(path).find("\"__metadata__\":{\"format\":\"pt\"}"), std::string::npos);
  EXPECT_EQ(test::error_of([&] { write_safetensors(path, {{"z", {2, 2}, &a}}); }).code, "checkpoint.export.size");
  EXPECT_EQ(test::error_of([&] {
              write_safetensors(path, {{"b", {1}, &b}, {"b", {1}, &b}});
            }).code,
            "checkpoint.export.name");
  EXPECT_TRUE(same_bits(SafeTensors::open(path).read("z"), a)) << "a refused write leaves the old file";
}

TEST(SafeTensors, in_shards_are_one_set_and_a_bad_index_is_refused) {
  auto const set = SafeTensors::open(data + "/gpt2_tiny_bare");
  EXPECT_TRUE(set.has("wte.weight"));
  EXPECT_TRUE(set.has("h.0.attn.c_attn.weight"));
  EXPECT_NE(set.entries().at("wte.weight").file, set.entries().at("h.0.attn.c_attn.weight").file);
  test::TemporaryDirectory const directory;
  test::write_file(directory / "a.safetensors", file_of("{" + good + "}", four));
  auto const code = [&](std::string const& index) {
    auto const path = test::write_file(directory / "m.safetensors.index.json", index);
    return test::error_of([&] { SafeTensors::open(path); }).code;
  };
  EXPECT_EQ(code("{\"weight_map\":{\"a\":\"../a.safetensors\"}}"), "checkpoint.safetensors.index");
  EXPECT_EQ(code("{\"weight_map\":{\"a\":\"/etc/passwd\"}}"), "checkpoint.safetensors.index");
  EXPECT_EQ(code("{\"weight_map\":{\"b\":\"a.safetensors\"}}"), "checkpoint.safetensors.index");
  EXPECT_EQ(code("{\"weight_map\":{\"a\":\"gone.safetensors\"}}"), "checkpoint.safetensors.open");
  EXPECT_EQ(code("{\"weight_map\":{\"a\":1}}"), "checkpoint.safetensors.field");
  EXPECT_EQ(code("{\"weight_map\":{\"a\":\"a.safetensors\",\"a\":\"b\"}}"), "checkpoint.safetensors.duplicate_key");
  EXPECT_EQ(code("{}"), "checkpoint.safetensors.field");
  EXPECT_EQ(test::error_of([&] { SafeTensors::open(directory / "none"); }).code, "checkpoint.safetensors.open");
  EXPECT_EQ(test::error_of([&] { SafeTensors::open(directory.path()); }).code, "checkpoint.safetensors.open");
}

TEST(SafeTensors, cut_short_anywhere_are_refused_and_never_crash) {
  auto const whole = test::read_file(data + "/dtypes.safetensors");
  test::TemporaryDirectory const directory;
  for (std::size_t n = 0; n < whole.size(); n += 7) {
    auto const path = test::write_file(directory / "x.safetensors", whole.substr(0, n));
    EXPECT_TRUE(test::error_of([&] { SafeTensors::open(path); }).code.starts_with("checkpoint.safetensors.")) << n;
  }
}

}  // namespace
}  // namespace lamina::checkpoint
