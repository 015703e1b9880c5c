#include "lamina/data/tokenizer.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::data {
namespace {

using nlohmann::json;
std::string const small = LAMINA_TEST_DATA "/data/tokenizer_small.json";

TEST(Tokenizer, gives_the_ids_of_the_tokenizers_library_on_odd_unicode) {
  auto const tokenizer = Tokenizer::open(small);
  auto const cases = json::parse(test::read_file(LAMINA_TEST_DATA "/data/tokenizer_cases.json"));
  ASSERT_GT(cases.size(), 100u);
  for (auto const& c : cases) {
    auto const text = c["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), c["ids"].get<std::vector<std::int32_t>>()) << c["text"].dump();
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << c["text"].dump();
  }
}

TEST(Tokenizer, reads_merges_as_pairs_and_as_text) {
  auto file = json::parse(test::read_file(small));
  for (auto& merge : file["model"]["merges"]) {
    merge = merge.is_array() ? json(merge[0].get<std::string>() + " " + merge[1].get<std::string>())
                             : json::array({merge.get<std::string>().substr(0, merge.get<std::string>().find(' ')),
                                            merge.get<std::string>().substr(merge.get<std::string>().find(' ') + 1)});
  }
  test::TemporaryDirectory const dir;
  auto const other = Tokenizer::open(test::write_file(dir / "t.json", file.dump()));
  std::string const text = "This program is free software; you can redistribute it.";
  EXPECT_EQ(other.encode(text), Tokenizer::open(small).encode(text));
}

TEST(Tokenizer, of_bytes_is_the_identity) {
  auto const tokenizer = Tokenizer::open("bytes");
  std::string every(256, '\0');
  for (int i = 0; i < 256; ++i) every[static_cast<std::size_t>(i)] = static_cast<char>(i);
  auto const ids = tokenizer.encode(every);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(ids[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(tokenizer.decode(ids), every);
  EXPECT_EQ(tokenizer.vocab(), 256);
}

TEST(Tokenizer, replaces_broken_utf8_as_python_does) {
  auto const tokenizer = Tokenizer::open(small);
  auto const decoded = [&](std::string const& text) { return tokenizer.decode(tokenizer.encode(text)); };
  std::string const r = "\xEF\xBF\xBD";
  EXPECT_EQ(decoded("a\xFF"
                    "b"),
            "a" + r + "b");
  EXPECT_EQ(decoded("\xE2\x82"
                    "x"),
            r + "x");                             // a cut euro sign: one replacement
  EXPECT_EQ(decoded("\xED\xA0\x80"), r + r + r);  // a surrogate
  EXPECT_EQ(decoded("\xC0\x80"), r + r);          // overlong
  EXPECT_EQ(decoded("\xF0\x9F\x98"), r);          // a cut emoji at the end
}

TEST(Tokenizer, refuses_what_it_would_tokenise_wrongly) {
  test::TemporaryDirectory const dir;
  auto const refused = [&](std::function<void(json&)> const& spoil) {
    auto file = json::parse(test::read_file(small));
    spoil(file);
    auto const error = test::error_of([&] { Tokenizer::open(test::write_file(dir / "t.json", file.dump())); });
    EXPECT_NE(error.subject.find("t.json"), std::string::npos);
    return error.code;
  };
  EXPECT_EQ(refused([](json& f) { f["model"]["type"] = "WordPiece"; }), "data.tokenizer.model");
  EXPECT_EQ(refused([](json& f) { f["model"].erase("vocab"); }), "data.tokenizer.model");
  EXPECT_EQ(refused([](json& f) { f["model"]["byte_fallback"] = true; }), "data.tokenizer.option");
  EXPECT_EQ(refused([](json& f) { f["normalizer"] = {{"type", "NFC"}}; }), "data.tokenizer.normalizer");
  EXPECT_EQ(refused([](json& f) { f["pre_tokenizer"] = {{"type", "Metaspace"}}; }), "data.tokenizer.pre_tokenizer");
  EXPECT_EQ(refused([](json& f) {
              f["post_processor"] = {{"type", "TemplateProcessing"}};
            }),
            "data.tokenizer.post_processor");
  EXPECT_EQ(refused([](json& f) { f["model"]["merges"].push_back({"qq", "zz"}); }), "data.tokenizer.merge");
  EXPECT_EQ(refused([](json& f) { f["model"]["vocab"]["x\u00ffx"] = -1; }), "data.tokenizer.id");
  EXPECT_EQ(refused([](json& f) { f["model"]["vocab"]["xyzw"] = 1e15; }), "data.tokenizer.id");
  EXPECT_EQ(refused([](json& f) { f["model"]["vocab"].erase("a"); }), "data.tokenizer.alphabet");
  EXPECT_EQ(refused([](json& f) { f["added_tokens"][0]["lstrip"] = true; }), "data.tokenizer.added");
  for (auto const* path : {"/model/type", "/model/ignore_merges", "/pre_tokenizer/use_regex", "/pre_tokenizer/type",
                           "/added_tokens/0/lstrip"}) {
    EXPECT_EQ(refused([&](json& f) { f[json::json_pointer(path)] = json::array({7}); }), "data.tokenizer.json") << path;
  }
  EXPECT_EQ(test::error_of([&] { Tokenizer::open(test::write_file(dir / "t.json", "{\"model\": ")); }).code,
            "data.tokenizer.json");
  EXPECT_EQ(test::error_of([&] { Tokenizer::open(dir / "none.json"); }).code, "data.file.open");
}

}  // namespace
}  // namespace lamina::data
