#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::data {

/// Text to token ids and back. Two kinds: "bytes" (every byte is a token, vocabulary 256) and byte-level BPE as GPT-2
/// has it, read from a Hugging Face tokenizer.json. Immutable; copies share their tables; thread-safe.
class Tokenizer {
 public:
  /// @param spec "bytes" or the path of a tokenizer.json.
  /// @throws Error "data.tokenizer.<rule>" (exit 3): a malformed file, or one that asks for something that is not
  /// GPT-2's byte-level BPE (another model, normaliser or pre-tokeniser): refused rather than mis-tokenised.
  static Tokenizer open(std::string const& spec);

  bool is_bytes() const;
  std::int64_t vocab() const;
  /// Any bytes; text that is not UTF-8 is tokenised bytewise where it is broken, as the tokenizers library does after
  /// replacing (U+FFFD).
  std::vector<std::int32_t> encode(std::string_view text) const;
  /// Bytes of the tokens; ids outside the vocabulary are skipped.
  std::string decode(std::vector<std::int32_t> const& tokens) const;
  /// Id that ends a document ("<|endoftext|>"), or -1.
  std::int32_t end_of_text() const;

 private:
  struct Impl;
  std::shared_ptr<Impl const> impl_;
};

/// 32 hex digits of XXH3 over the tokenizer.json that `spec` names; "" for "bytes": what tells whether a tokenizer has
/// changed under its path. @throws Error "data.file.*".
std::string tokenizer_hash(std::string const& spec);

/// A whole file as bytes. @throws Error "data.file.*".
std::string read_text(std::string const& path);

}  // namespace lamina::data
