#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace lamina::data {

/// A file of token ids, whatever its format.
class TokenFile {
 public:
  virtual ~TokenFile() = default;
  virtual std::int64_t tokens() const = 0;
  /// Tokens [first, first + count). Thread-safe.
  /// @throws Error "data.tokens.range" with file and byte offset for a token >= `vocab` (0: unchecked), or negative.
  virtual void read(std::int64_t first, std::int64_t count, std::int64_t vocab, std::int32_t* out) const = 0;

  std::string path;
  std::string format;           ///< "nanogpt", "llm.c", "llm.c-llama3", "megatron", "bytes"
  std::string dtype;            ///< "u8", "u16", "i32", "u32", ...
  std::int64_t bytes = 0;       ///< of the file that holds the tokens
  std::int64_t documents = -1;  ///< megatron: number of documents; -1 elsewhere
};

/// Recognises the format by content: llm.c by its magic number (nanoGPT tokens cannot begin with it); Megatron by the
/// index beside the file ("x.bin" with "x.idx", either name may be given); anything else of even size is nanoGPT's
/// headerless u16. Sizes, headers and the whole index are checked here.
/// @throws Error "data.<format>.<rule>" with the file and the byte offset (exit 3).
std::unique_ptr<TokenFile> open_tokens(std::string const& path);

/// Every byte is a token (vocabulary 256).
std::unique_ptr<TokenFile> open_bytes(std::string const& path);

/// Largest token id, reading everything. For `inspect` and for checks of small files.
std::int64_t largest_token(TokenFile const& file);

/// A description for `lamina data inspect`: format, tokens, documents, largest token, size, first tokens, checks.
struct Description {
  std::string path, format, dtype;
  std::int64_t bytes = 0, tokens = 0, documents = -1, largest = 0, distinct = 0;
  double entropy_nats = 0;  ///< of the unigram distribution
};
Description describe(TokenFile const& file);

}  // namespace lamina::data
