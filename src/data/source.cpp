#include "lamina/data/source.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>

#include "data/detail/file.hpp"
#include "data/detail/numbers.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/hash.hpp"
#include "lamina/base/text.hpp"
#include "lamina/data/token_file.hpp"
#include "lamina/data/tokenizer.hpp"

namespace lamina::data {
namespace {

using Files = std::vector<std::shared_ptr<TokenFile const>>;

/// Tokens held in memory: text that was tokenised when it was opened.
class MemoryTokens final : public TokenFile {
 public:
  MemoryTokens(std::string file, std::vector<std::int32_t> tokens) : tokens_(std::move(tokens)) {
    path = std::move(file), format = "text", dtype = "i32";
    bytes = static_cast<std::int64_t>(tokens_.size() * sizeof(std::int32_t));
  }
  std::int64_t tokens() const override { return static_cast<std::int64_t>(tokens_.size()); }
  void read(std::int64_t first, std::int64_t count, std::int64_t vocab, std::int32_t* out) const override {
    for (std::int64_t i = 0; i < count; ++i) {
      auto const token = tokens_[static_cast<std::size_t>(first + i)];
      if (vocab > 0 && token >= vocab) {
        fail({.code = "data.tokens.range",
              .subject = text("text file '", path, "', token ", first + i),
              .found = text("token ", token),
              .expected = text("0 <= token < ", vocab, " (model.vocab)"),
              .fix = "set model.vocab to the tokenizer's, or leave it out"});
      }
      out[i] = token;
    }
  }

 private:
  std::vector<std::int32_t> tokens_;
};

/// Samples of several files one after the other.
class FilesSource final : public TokenSource {
 public:
  FilesSource(Files files, std::int64_t tokens, std::int64_t vocab)
      : files_(std::move(files)), tokens_(tokens), vocab_(vocab) {
    std::int64_t total = 0;
    for (auto const& file : files_) {
      starts_.push_back(total);
      total += std::max<std::int64_t>(0, (file->tokens() - 1) / tokens_);
    }
    starts_.push_back(total);
    last_ = total;
  }

  /// The samples [first, last) of another source over the same files.
  FilesSource(FilesSource const& whole, std::int64_t first, std::int64_t last) : FilesSource(whole) {
    first_ = first, last_ = last;
  }
  FilesSource(FilesSource const&) = default;

  std::int64_t samples() const override { return last_ - first_; }
  std::int64_t tokens_per_sample() const override { return tokens_; }

  void read(std::int64_t sample, std::int32_t* inputs, std::int32_t* targets) const override {
    sample += first_;
    auto const after = std::upper_bound(starts_.begin(), starts_.end(), sample);
    auto const file = static_cast<std::size_t>(after - starts_.begin()) - 1;
    auto const first = (sample - starts_[file]) * tokens_;
    // T + 1 tokens: the targets are read once and give all inputs but the first.
    files_[file]->read(first, 1, vocab_, inputs);
    files_[file]->read(first + 1, tokens_, vocab_, targets);
    std::copy(targets, targets + tokens_ - 1, inputs + 1);
  }

 private:
  Files files_;
  std::vector<std::int64_t> starts_;  // first sample of each file; then the total
  std::int64_t tokens_, vocab_, first_ = 0, last_ = 0;
};

// Small files are read whole. Of large ones both ends: a wrong dtype, vocabulary or byte order shows there at once;
// every other token is checked when it is used.
void check_vocabulary(TokenFile const& file, std::int64_t vocab, CheckLimits const& limits) {
  auto const count = file.tokens();
  if (vocab <= 0 || count == 0) return;
  std::vector<std::int32_t> block(1 << 14);
  auto const read = [&](std::int64_t first, std::int64_t last) {
    auto const size = static_cast<std::int64_t>(block.size());
    for (; first < last; first += size) file.read(first, std::min(size, last - first), vocab, block.data());
  };
  auto const ends = limits.end_bytes / std::max<std::int64_t>(1, file.bytes / count);
  if (file.bytes <= limits.whole_bytes || 2 * ends >= count) return read(0, count);
  read(0, ends);
  read(count - ends, count);
}

/// A Megatron dataset is two files, and either name opens it: x.idx and x.bin, both listed or matched, are one. The
/// same name twice is twice the data, as for every other file.
class MegatronPairs {
 public:
  bool seen(TokenFile const& file, std::string const& listed_as) {
    if (file.format != "megatron") return false;
    auto& times = times_[std::filesystem::weakly_canonical(file.path).string()];
    bool const index = listed_as.ends_with(".idx");
    return ++times[index ? 0 : 1] <= times[index ? 1 : 0];
  }

 private:
  std::map<std::string, std::array<int, 2>> times_;  // by the .bin: listed as .idx, as .bin
};

Files open_files(std::vector<std::string> const& patterns, std::string const& kind, Tokenizer const& tokenizer,
                 std::int64_t vocab, CheckLimits const& limits) {
  Files files;
  MegatronPairs pairs;
  for (auto const& path : detail::expand(patterns)) {
    std::shared_ptr<TokenFile const> file;
    if (kind == "tokens") {
      file = open_tokens(path);
      if (pairs.seen(*file, path)) continue;
    } else if (tokenizer.is_bytes()) {
      file = open_bytes(path);
    } else {
      file = std::make_shared<MemoryTokens>(path, tokenizer.encode(read_text(path)));
    }
    check_vocabulary(*file, vocab, limits);
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

std::string read_text(std::string const& path) {
  detail::File const file(path);
  std::string content(static_cast<std::size_t>(file.bytes()), '\0');
  file.read(0, content.data(), file.bytes());
  return content;
}

std::string tokenizer_hash(std::string const& spec) { return spec == "bytes" ? "" : hex(hash128(read_text(spec))); }

std::vector<Field> TokenSource::fields() const {
  TensorSpec const ids{DType::i32, {tokens_per_sample()}};
  return {{.name = "tokens", .sample = ids}, {.name = "targets", .sample = ids, .padding = 0xff}};
}

void TokenSource::fill(std::int64_t sample, std::span<void* const> to) const {
  read(sample, static_cast<std::int32_t*>(to[0]), static_cast<std::int32_t*>(to[1]));
}

Sources open(config::Data const& config, Demand const& demand, CheckLimits const& limits) {
  if (config.kind == "table") return detail::open_table(config, demand);
  if (config.kind == "synthetic") return detail::open_synthetic(config, demand);
  auto const tokens_per_sample = demand.tokens, vocab = demand.vocab;
  auto const tokenizer = Tokenizer::open(config.kind == "text" ? config.tokenizer : "bytes");
  Sources sources;
  sources.vocab = config.kind == "text" ? tokenizer.vocab() : 0;
  if (config.kind == "text" && vocab > 0 && vocab < tokenizer.vocab()) {
    fail({.code = "data.tokenizer.vocab",
          .subject = text("tokenizer '", config.tokenizer, "'"),
          .found = text("model.vocab = ", vocab, ", the tokenizer has ", tokenizer.vocab(), " tokens"),
          .expected = "model.vocab is at least the tokenizer's",
          .fix = text("leave model.vocab out, or set it to ", tokenizer.vocab())});
  }
  auto const limit = vocab > 0 ? vocab : sources.vocab;
  if (tokens_per_sample < 1) {
    fail({.code = "data.tokens.model",
          .subject = text("data of kind ", config.kind),
          .found = "a model over numbers",
          .expected = "a model over tokens",
          .fix = "take data of kind table or synthetic"});
  }
  auto train = std::make_unique<FilesSource>(open_files(config.train, config.kind, tokenizer, limit, limits),
                                             tokens_per_sample, limit);
  if (train->samples() == 0) {
    fail({.code = "data.train.short",
          .subject = text("training data ", join(config.train)),
          .found = text("no file has ", tokens_per_sample + 1, " tokens"),
          .expected = text("at least one sample: model.context + 1 = ", tokens_per_sample + 1, " tokens of one file"),
          .fix = "add data, or lower model.context; samples never cross files, so join small files with `lamina data "
                 "pack`"});
  }
  if (!config.valid.empty()) {
    sources.valid = std::make_unique<FilesSource>(open_files(config.valid, config.kind, tokenizer, limit, limits),
                                                  tokens_per_sample, limit);
    if (sources.valid->samples() == 0) {
      fail({.code = "data.valid.short",
            .subject = text("validation data ", join(config.valid)),
            .found = text("no file has ", tokens_per_sample + 1, " tokens"),
            .expected = text("at least one sample: model.context + 1 = ", tokens_per_sample + 1, " tokens of one file"),
            .fix = "add data, lower model.context, or use data.valid_fraction"});
    }
  } else if (config.valid_fraction > 0) {
    auto const total = train->samples();
    if (total < 2) {
      fail({.code = "data.valid.short",
            .subject = text("data.valid_fraction = ", config.valid_fraction),
            .found = "one sample in all",
            .expected = "at least two: one to train on, one to hold out",
            .fix = "add data, lower model.context, or give data.valid files of their own"});
    }
    auto const held =
        std::clamp<std::int64_t>(std::llround(static_cast<double>(total) * config.valid_fraction), 1, total - 1);
    sources.valid = std::make_unique<FilesSource>(*train, total - held, total);
    train = std::make_unique<FilesSource>(*train, 0, total - held);
  }
  sources.train = std::move(train);
  return sources;
}

}  // namespace lamina::data
