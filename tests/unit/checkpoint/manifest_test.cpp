#include "checkpoint/detail/manifest.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "lamina/base/text.hpp"
#include "support/checkpoint_cases.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::checkpoint::detail {
namespace {

Manifest sample() {
  Manifest m;
  m.state = test::make_state(12);
  m.files = {{.name = "tensors-0.h5", .bytes = 4000, .metadata = {1, 2}},
             {.name = "tensors-1.h5", .bytes = 100, .metadata = {}}};
  m.tensors = {
      {.name = "a",
       .role = Role::parameter,
       .spec = {DType::f32, {10, 20}},
       .file = 0,
       .offset = 96,
       .checksum = {3, 4}},
      {.name = "a",
       .role = Role::moment1,
       .spec = {DType::bf16, {7}},
       .file = 0,
       .offset = 2048,
       .checksum = {5, UINT64_MAX}},
      {.name = "s", .role = Role::moment2, .spec = {DType::f64, Shape{}}, .file = 1, .offset = 92, .checksum = {}},
      {.name = "none", .role = Role::parameter, .spec = {DType::i64, {0, 3}}, .file = 1, .offset = 0, .checksum = {}}};
  return m;
}

/// Text with its own checksum made right again, so that only the change itself can be found.
std::string with_checksum(std::string s) {
  auto const at = s.rfind("  \"checksum\": \"");
  s.resize(at);
  return s + text("  \"checksum\": \"", hex(hash128(s)), "\"\n}\n");
}

std::string replaced(std::string s, std::string const& from, std::string const& to) {
  auto const at = s.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return with_checksum(s.replace(at, from.size(), to));
}

TEST(Manifest, parses_what_it_prints) {
  auto m = sample();
  EXPECT_EQ(parse_manifest(print(m), "m").state.tokenizer_hash, "");
  m.state.tokenizer_hash = hex(hash128("a tokenizer.json"));
  auto const s = print(m);
  auto const back = parse_manifest(s, "m");
  EXPECT_EQ(back.state.tokenizer_hash, m.state.tokenizer_hash);
  EXPECT_EQ(print(back), s);
  EXPECT_EQ(back.state.step, 12);
  EXPECT_EQ(back.state.tokens, 12'000);
  EXPECT_EQ(back.state.data_position, 96);
  EXPECT_EQ(back.state.seed, 7);
  EXPECT_EQ(back.state.config, m.state.config);
  EXPECT_EQ(back.state.layout, m.state.layout);
  EXPECT_EQ(back.tensors[1].checksum, m.tensors[1].checksum);
  EXPECT_EQ(back.tensors[2].spec, m.tensors[2].spec);
}

TEST(Manifest, is_json_that_others_read_with_one_line_a_tensor) {
  auto const json = nlohmann::json::parse(print(sample()));
  EXPECT_EQ(json["format"], "lamina-checkpoint");
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["tensors"][0]["shape"], (std::vector<int>{10, 20}));
  EXPECT_EQ(json["tensors"][0]["file"], "tensors-0.h5");
}

struct Hostile {
  std::string from, to, rule, place;
};
void PrintTo(Hostile const& h, std::ostream* out) { *out << h.from << " -> " << h.to.substr(0, 60); }
class HostileManifest : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileManifest, is_refused_with_its_place) {
  auto const& h = GetParam();
  auto const e = test::error_of([&] { parse_manifest(replaced(print(sample()), h.from, h.to), "dir/manifest.json"); });
  EXPECT_EQ(e.code, "checkpoint.manifest." + h.rule) << e.found;
  EXPECT_EQ(e.subject, "dir/manifest.json");
  EXPECT_NE((e.found + e.expected).find(h.place), std::string::npos) << e.found << e.expected;
  EXPECT_EQ(exit_code_of(e.code), ExitCode::bad_input);
}

INSTANTIATE_TEST_SUITE_P(
    cases, HostileManifest,
    ::testing::Values(Hostile{"\"version\": 1", "\"version\": 2", "version", "written by lamina"},
                      Hostile{"\"version\": 1", "\"version\": 1e30", "field", "version"},
                      Hostile{"\"version\": 1", "\"version\": \"1\"", "field", "version"},
                      Hostile{"lamina-checkpoint", "other", "field", "format"},
                      Hostile{"\"step\": 12", "\"step\": -1", "field", "step"},
                      Hostile{"\"step\": 12", "\"step\": 100000000", "field", "step"},
                      Hostile{"\"step\": 12", "\"step\": 12.5", "field", "step"},
                      Hostile{"\"step\": 12", "\"step\": 99999999999999999999999999", "field", "step"},
                      Hostile{"\"step\": 12", "\"step\": 18446744073709551615", "field", "step"},
                      Hostile{"\"step\": 12,", "\"step\": 12, \"step\": 12,", "duplicate_key", "step"},
                      Hostile{"\"step\": 12,", "", "field", "step: missing"},
                      Hostile{"\"role\":\"parameter\"", "\"role\":\"parameter\",\"role\":\"moment1\"", "duplicate_key",
                              "role"},
                      Hostile{"philox4x32-10", "mt19937", "field", "rng.generator"},
                      Hostile{"dp = 1", "dp = \xff", "json", "byte"},
                      Hostile{"dp = 1", std::string("dp \0 1", 6), "json", "NUL"},
                      Hostile{"\"config_hash\": \"", "\"config_hash\": \"0", "field", "config_hash"},
                      Hostile{"runs/", "ruin/", "field", "config_hash"},
                      Hostile{"\"name\":\"tensors-0.h5\"", "\"name\":\"../tensors-0.h5\"", "field", "files[0].name"},
                      Hostile{"\"name\":\"tensors-0.h5\"", "\"name\":\"/etc/passwd\"", "field", "files[0].name"},
                      Hostile{"\"name\":\"tensors-0.h5\"", "\"name\":\"..\"", "field", "files[0].name"},
                      Hostile{"\"name\":\"tensors-0.h5\"", "\"name\":\"\"", "field", "files[0].name"},
                      Hostile{"\"name\":\"tensors-0.h5\"", "\"name\":\"manifest.json\"", "field", "files[0].name"},
                      Hostile{"\"name\":\"tensors-0.h5\"", "\"name\":\"tensors-1.h5\"", "field", "files[1].name"},
                      Hostile{"\"bytes\":4000", "\"bytes\":-4000", "field", "files[0].bytes"},
                      Hostile{"\"bytes\":4000", "\"bytes\":9223372036854775807", "field", "files[0].bytes"},
                      Hostile{"\"bytes\":4000", "\"bytes\":800", "field", "tensors[0].offset"},
                      Hostile{"\"bytes\":4000", "\"bytes\":700", "field", "tensors[0].shape"},
                      Hostile{"\"offset\":96", "\"offset\":-96", "field", "tensors[0].offset"},
                      Hostile{"\"offset\":96", "\"offset\":3201", "field", "tensors[0].offset"},
                      Hostile{"\"offset\":96", "\"offset\":9223372036854775807", "field", "tensors[0].offset"},
                      Hostile{"\"offset\":96", "\"offset\":1e2", "field", "tensors[0].offset"},
                      Hostile{"\"offset\":96", "\"offset\":2040", "field", "overlap"},
                      Hostile{"\"offset\":96", "\"offset\":2048", "field", "byte 2048"},
                      Hostile{"[10,20]", "[4611686018427387904,4611686018427387904]", "field", "tensors[0].shape"},
                      Hostile{"[10,20]", "[4611686018427387904,4611686018427387904,0]", "field", "tensors[0].shape"},
                      Hostile{"[10,20]", "[-10,-20]", "field", "tensors[0].shape"},
                      Hostile{"[10,20]", "[1,1,1,1,1,1,1]", "field", "tensors[0].shape"},
                      Hostile{"[10,20]", "[\"10\"]", "field", "tensors[0].shape"},
                      Hostile{"[10,20]", "200", "field", "tensors[0].shape"},
                      Hostile{"\"dtype\":\"f32\"", "\"dtype\":\"f31\"", "field", "tensors[0].dtype"},
                      Hostile{"\"role\":\"parameter\"", "\"role\":\"gradient\"", "field", "tensors[0].role"},
                      Hostile{"\"role\":\"parameter\"", "\"role\":\"moment1\"", "field", "twice"},
                      Hostile{"\"file\":\"tensors-0.h5\"", "\"file\":\"tensors-2.h5\"", "field", "tensors[0].file"},
                      Hostile{"\"name\":\"a\"", "\"name\":\"a/b\"", "field", "tensors[0].name"},
                      Hostile{"\"name\":\"a\"", "\"name\":\"\"", "field", "tensors[0].name"},
                      Hostile{"\"name\":\"a\"", "\"name\":\"a\\n\"", "field", "tensors[0].name"},
                      Hostile{"\"tensors\": [", "\"tensors\": [1,", "field", "tensors[0]"},
                      Hostile{"\"tensors\": [", "\"tensors\": 7, \"t\": [", "field", "tensors"}));

TEST(Manifest, that_was_changed_anywhere_fails_its_own_checksum_or_does_not_parse) {
  auto const s = print(sample());
  for (std::size_t i = 0; i < s.size(); i += 3) {
    auto changed = s;
    changed[i] = static_cast<char>(changed[i] ^ 0x02);
    EXPECT_TRUE(test::error_of([&] { parse_manifest(changed, "m"); }).code.starts_with("checkpoint.manifest.")) << i;
  }
}

TEST(Manifest, that_was_cut_anywhere_is_refused) {
  auto const s = print(sample());
  for (std::size_t n = 0; n < s.size() - 1; n += 5) {
    auto const code = test::error_of([&] { parse_manifest(s.substr(0, n), "m"); }).code;
    EXPECT_TRUE(code == "checkpoint.manifest.json" || code == "checkpoint.manifest.checksum") << n << " " << code;
  }
  EXPECT_EQ(test::error_of([&] { parse_manifest(s + " ", "m"); }).code, "checkpoint.manifest.checksum");
}

TEST(Manifest, of_a_huge_size_is_refused_unread) {
  test::TemporaryDirectory const directory;
  auto const path = test::write_file(directory / "manifest.json", "{");
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(largest_manifest) + 1);
  EXPECT_EQ(test::error_of([&] { read_manifest(directory.path()); }).code, "io.file.too_long");
}

TEST(Manifest, with_deep_nesting_is_refused) {
  EXPECT_EQ(test::error_of([&] { parse_manifest(std::string(1'000'000, '['), "m"); }).code, "checkpoint.manifest.json");
}

}  // namespace
}  // namespace lamina::checkpoint::detail
