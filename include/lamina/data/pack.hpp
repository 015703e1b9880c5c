#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lamina::data {

struct PackOptions {
  std::vector<std::string> files;   ///< text files (globs)
  std::string output;               ///< "x.bin"; several shards become x_000.bin, x_001.bin, ...
  std::string format = "nanogpt";   ///< nanogpt | llm.c | megatron
  std::string tokenizer = "bytes";  ///< bytes | a tokenizer.json
  std::int64_t shard_tokens = 100'000'000;
  bool end_of_text = true;  ///< append the tokenizer's end-of-text token, if it has one, after each file
};

struct PackReport {
  std::vector<std::string> shards;
  std::int64_t tokens = 0, documents = 0, vocab = 0;
};

/// Tokenises text files into token shards; each file is a document. Written under temporary names, synced, renamed: a
/// shard that exists is whole.
/// @throws Error "data.pack.<rule>", "data.write.*" (exit 7).
PackReport pack(PackOptions const& options);

}  // namespace lamina::data
