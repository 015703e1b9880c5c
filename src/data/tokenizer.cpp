#include "lamina/data/tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/detail/bpe.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data {
namespace {

using nlohmann::json;

// GPT-2's pre-tokeniser. White space is spelled out: PCRE2's own \s has one character more (U+180E) than Unicode's.
#define LAMINA_SPACE "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
constexpr char const* gpt2_pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" LAMINA_SPACE
                                     "\\p{L}\\p{N}]+"
                                     "|[" LAMINA_SPACE "]+(?![^" LAMINA_SPACE "])|[" LAMINA_SPACE "]+";

struct Pattern {
  Pattern() {
    int code = 0;
    PCRE2_SIZE at = 0;
    regex = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(gpt2_pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                          &code, &at, nullptr);
    if (!regex) {
      fail({.code = "data.tokenizer.pattern",
            .subject = "the pre-tokeniser's pattern",
            .found = text("PCRE2 error ", code, " at ", at),
            .expected = "a PCRE2 with Unicode support",
            .fix = "install a PCRE2 that was built with --enable-unicode"});
    }
    pcre2_jit_compile(regex, PCRE2_JIT_COMPLETE);  // only speed: matching works without it
  }
  ~Pattern() { pcre2_code_free(regex); }
  Pattern(Pattern const&) = delete;
  Pattern& operator=(Pattern const&) = delete;
  pcre2_code* regex = nullptr;
};

[[noreturn]] void refuse(std::string const& path, std::string const& what, std::string found, std::string expected) {
  fail({.code = text("data.tokenizer.", what),
        .subject = text("tokenizer '", path, "'"),
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = "use a tokenizer.json of GPT-2's kind (byte-level BPE), or pack the text with its own tokenizer into "
               "token shards"});
}

std::string type_of(json const& j) {
  if (j.is_null()) return "null";
  return j.is_object() ? j.value("type", std::string("an object without a type")) : j.dump().substr(0, 40);
}

}  // namespace

struct Tokenizer::Impl {
  struct Added {
    std::string content;
    std::int32_t id;
  };
  bool bytes = true;
  std::int64_t vocab = 256;
  std::int32_t end_of_text = -1;
  detail::Bpe bpe;
  std::vector<std::string> text_of;  // bytes of each id
  std::vector<Added> added;          // longest first
  bool prefix_space = false;
  Pattern pattern;

  void load(std::string const& path);
  void load_model(std::string const& path, json const& model);
  void load_added(std::string const& path, json const& tokens);
  void encode_plain(std::string_view text, std::vector<std::int32_t>& out,
                    std::unordered_map<std::string, std::vector<std::int32_t>>& seen) const;
};

void Tokenizer::Impl::load_model(std::string const& path, json const& model) {
  auto const is_off = [&](char const* key) {
    auto const found = model.find(key);
    return found == model.end() || found->is_null() || *found == false || *found == "" || *found == 0;
  };
  if (!model.is_object() || model.value("type", std::string("BPE")) != "BPE")
    refuse(path, "model", type_of(model), "model.type = \"BPE\"");
  for (auto const* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback"}) {
    if (!is_off(key))
      refuse(path, "option", text("model.", key, " = ", model[key].dump()), "none: GPT-2 has no such option");
  }
  auto const vocabulary = model.find("vocab"), merges = model.find("merges");
  if (vocabulary == model.end() || !vocabulary->is_object() || merges == model.end() || !merges->is_array()) {
    refuse(path, "model", "no model.vocab object or no model.merges array", "both");
  }
  std::unordered_map<std::string, std::int32_t> ids;
  auto const limit =
      static_cast<std::int64_t>(vocabulary->size()) * 2 + 65536;  // ids may have gaps, but not absurd ones
  for (auto const& [token, id] : vocabulary->items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= limit) {
      refuse(path, "id", text("token ", json(token).dump(), " with id ", id.dump()),
             text("an id from 0 to ", limit - 1));
    }
    ids[token] = id.get<std::int32_t>();
    vocab = std::max<std::int64_t>(vocab, id.get<std::int64_t>() + 1);
  }
  text_of.resize(static_cast<std::size_t>(vocab));
  bool const whole_words = model.value("ignore_merges", false);
  std::string raw;
  for (auto const& [token, id] : ids) {
    if (!detail::bytes_from_printable(token, raw)) {  // an added token that the vocabulary lists as well
      text_of[static_cast<std::size_t>(id)] = token;
      continue;
    }
    text_of[static_cast<std::size_t>(id)] = raw;
    if (raw.size() == 1) bpe.byte_token[static_cast<unsigned char>(raw[0])] = id;
    if (whole_words) bpe.words[raw] = id;
  }
  for (int b = 0; b < 256; ++b) {
    if (bpe.byte_token[static_cast<std::size_t>(b)] < 0)
      refuse(path, "alphabet", text("no token for byte ", b), "all 256 bytes");
  }
  std::int32_t rank = 0;
  for (auto const& merge : *merges) {  // "a b", or ["a", "b"] as newer files have it
    std::string left, right;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0], right = merge[1];
    } else if (merge.is_string()) {
      auto const pieces = split(merge.get<std::string>(), ' ');
      if (pieces.size() == 2) left = pieces[0], right = pieces[1];
    }
    auto const l = ids.find(left), r = ids.find(right), m = ids.find(left + right);
    if (left.empty() || l == ids.end() || r == ids.end() || m == ids.end()) {
      refuse(path, "merge", text("merge ", rank, ": ", merge.dump()),
             "two tokens of the vocabulary whose join is one, too");
    }
    bpe.merges.try_emplace(detail::Bpe::pair_key(l->second, r->second), rank++, m->second);
  }
}

void Tokenizer::Impl::load_added(std::string const& path, json const& tokens) {
  for (auto const& token : tokens) {
    if (!token.is_object() || !token.contains("content") || !token["content"].is_string() || !token.contains("id") ||
        !token["id"].is_number_integer()) {
      refuse(path, "added", token.dump().substr(0, 80), "an added token with content and id");
    }
    for (auto const* flag : {"single_word", "lstrip", "rstrip"}) {
      if (token.value(flag, false)) refuse(path, "added", text(flag, " = true"), "plain added tokens");
    }
    auto const id = token["id"].get<std::int64_t>();
    if (id < 0 || id > vocab + 65536) refuse(path, "id", text("added token with id ", id), "an id near the vocabulary");
    auto const content = token["content"].get<std::string>();
    vocab = std::max(vocab, id + 1);
    text_of.resize(static_cast<std::size_t>(vocab));
    text_of[static_cast<std::size_t>(id)] = content;
    if (!content.empty()) added.push_back({content, static_cast<std::int32_t>(id)});
    if (content == "<|endoftext|>") end_of_text = static_cast<std::int32_t>(id);
  }
  std::ranges::stable_sort(added, [](auto const& a, auto const& b) { return a.content.size() > b.content.size(); });
}

void Tokenizer::Impl::load(std::string const& path) {
  bytes = false;
  vocab = 0;
  auto const content = read_text(path);
  json file;
  try {
    file = json::parse(content);
  } catch (json::parse_error const& e) {
    refuse(path, "json", text("offset ", e.byte, ": ", e.what()), "a JSON file");
  }
  if (!file.is_object() || !file.contains("model")) refuse(path, "json", "no member 'model'", "a tokenizer.json");
  auto const member = [&](char const* name) { return file.contains(name) ? file[name] : json(); };
  if (auto const n = member("normalizer"); !n.is_null()) refuse(path, "normalizer", type_of(n), "no normaliser");
  auto const pre = member("pre_tokenizer"), post = member("post_processor");
  if (type_of(pre) != "ByteLevel" || !pre.value("use_regex", true)) {
    refuse(path, "pre_tokenizer", type_of(pre), "ByteLevel with use_regex");
  }
  prefix_space = pre.value("add_prefix_space", true);
  if (!post.is_null() && type_of(post) != "ByteLevel")
    refuse(path, "post_processor", type_of(post), "ByteLevel or none");
  load_model(path, file["model"]);
  if (auto const tokens = member("added_tokens"); tokens.is_array()) load_added(path, tokens);
}

void Tokenizer::Impl::encode_plain(std::string_view text, std::vector<std::int32_t>& out,
                                   std::unordered_map<std::string, std::vector<std::int32_t>>& seen) const {
  std::string spaced;
  if (prefix_space && !text.empty() && text.front() != ' ') text = spaced = " " + std::string(text);
  auto* match = pcre2_match_data_create(1, nullptr);
  for (std::size_t at = 0; at < text.size();) {
    // The text is valid UTF-8 (see encode), so checking it again for every match would be quadratic.
    int const found = pcre2_match(pattern.regex, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NO_UTF_CHECK, match, nullptr);
    if (found < 0) break;  // every character is in some alternative: only the end gets here
    auto const* range = pcre2_get_ovector_pointer(match);
    auto const word = text.substr(range[0], range[1] - range[0]);
    at = range[1];
    auto const [entry, fresh] = seen.try_emplace(std::string(word));
    if (fresh) bpe.encode(word, entry->second);
    out.insert(out.end(), entry->second.begin(), entry->second.end());
  }
  pcre2_match_data_free(match);
}

Tokenizer Tokenizer::open(std::string const& spec) {
  auto impl = std::make_shared<Impl>();
  try {
    if (spec != "bytes") impl->load(spec);
  } catch (json::exception const& e) {  // a member of another type than the format has
    refuse(spec, "json", e.what(), "a tokenizer.json whose members have their usual types");
  }
  Tokenizer tokenizer;
  tokenizer.impl_ = std::move(impl);
  return tokenizer;
}

bool Tokenizer::is_bytes() const { return impl_->bytes; }
std::int64_t Tokenizer::vocab() const { return impl_->vocab; }
std::int32_t Tokenizer::end_of_text() const { return impl_->end_of_text; }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> out;
  if (impl_->bytes) {
    out.reserve(text.size());
    for (char const c : text) out.push_back(static_cast<unsigned char>(c));
    return out;
  }
  auto const valid = detail::valid_utf8(text);
  std::unordered_map<std::string, std::vector<std::int32_t>> seen;  // most words of a text repeat
  std::string_view rest = valid;
  // Added tokens cut the text first: leftmost, longest of those that begin at one place.
  while (!rest.empty()) {
    std::size_t best = std::string_view::npos;
    Impl::Added const* which = nullptr;
    for (auto const& token : impl_->added) {
      auto const at = rest.find(token.content);
      if (at != rest.npos && at < best) best = at, which = &token;
    }
    impl_->encode_plain(rest.substr(0, best), out, seen);
    if (!which) break;
    out.push_back(which->id);
    rest.remove_prefix(best + which->content.size());
  }
  return out;
}

std::string Tokenizer::decode(std::vector<std::int32_t> const& tokens) const {
  std::string out;
  for (auto const token : tokens) {
    if (token < 0 || token >= impl_->vocab) continue;
    if (impl_->bytes) {
      out.push_back(static_cast<char>(token));
    } else {
      out += impl_->text_of[static_cast<std::size_t>(token)];
    }
  }
  return out;
}

}  // namespace lamina::data
