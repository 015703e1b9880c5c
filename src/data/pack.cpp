#include "lamina/data/pack.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "data/detail/file.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/data/tokenizer.hpp"

namespace lamina::data {
namespace {

/// A file that appears under its name only when it is whole.
class Output {
 public:
  explicit Output(std::string path) : path_(std::move(path)), temporary_(path_ + ".part") {
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) broken("open");
  }
  ~Output() {
    if (descriptor_ >= 0) ::close(descriptor_), ::unlink(temporary_.c_str());
  }
  Output(Output const&) = delete;
  Output& operator=(Output const&) = delete;

  void write(void const* data, std::size_t bytes) {
    auto const* p = static_cast<char const*>(data);
    while (bytes > 0) {
      auto const n = ::write(descriptor_, p, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) broken("write");
      p += n, bytes -= static_cast<std::size_t>(n);
    }
  }
  void seek(std::int64_t offset) {
    if (::lseek(descriptor_, offset, SEEK_SET) < 0) broken("seek");
  }
  void commit() {
    if (::fsync(descriptor_) != 0) broken("fsync");
    if (::close(std::exchange(descriptor_, -1)) != 0) broken("close");
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) broken("rename");
  }

 private:
  [[noreturn]] void broken(char const* call) {
    fail({.code = text("data.write.", call),
          .subject = text("shard '", path_, "'"),
          .found = std::strerror(errno),
          .expected = "a directory that exists, can be written and has room",
          .fix = "free space or choose another output; no half-written shard is left"});
  }
  std::string path_, temporary_;
  int descriptor_ = -1;
};

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<char const*>(&value), sizeof value);
}

/// One shard: the token file and, for Megatron, its index.
class Shard {
 public:
  Shard(std::string const& path, std::string format, std::int64_t item)
      : path_(path), format_(std::move(format)), item_(item), out_(path) {
    if (format_ == "llm.c") {
      std::array<std::int32_t, 256> const header{};
      out_.write(header.data(), sizeof header);
    }
  }

  void add(std::int32_t const* tokens, std::int64_t count) {
    std::string raw;
    raw.reserve(static_cast<std::size_t>(count * item_));
    for (std::int64_t i = 0; i < count; ++i) {
      if (item_ == 2) {
        append(raw, static_cast<std::uint16_t>(tokens[i]));
      } else {
        append(raw, tokens[i]);
      }
    }
    out_.write(raw.data(), raw.size());
    tokens_ += count;
    sequence_ += count;
  }
  void end_document() {
    if (sequence_ == 0) return;
    lengths_.push_back(static_cast<std::int32_t>(sequence_));
    sequence_ = 0;
  }
  std::int64_t tokens() const { return tokens_; }

  void commit() {
    end_document();
    if (format_ == "llm.c") {
      std::array<std::int32_t, 3> const head{item_ == 2 ? 20240520 : 20240801, item_ == 2 ? 1 : 7,
                                             static_cast<std::int32_t>(tokens_)};
      out_.seek(0);
      out_.write(head.data(), sizeof head);
    }
    out_.commit();
    if (format_ == "megatron") write_index();
  }

 private:
  void write_index() {
    std::string index("MMIDIDX\0\0", 9);
    append(index, std::uint64_t{1});
    append(index, static_cast<std::uint8_t>(item_ == 2 ? 8 : 4));
    append(index, std::uint64_t{lengths_.size()});
    append(index, std::uint64_t{lengths_.size() + 1});
    for (auto const n : lengths_) append(index, n);
    std::int64_t offset = 0;
    for (auto const n : lengths_) append(index, offset), offset += n * item_;
    for (std::int64_t d = 0; d <= static_cast<std::int64_t>(lengths_.size()); ++d) append(index, d);
    Output out(std::filesystem::path(path_).replace_extension(".idx").string());
    out.write(index.data(), index.size());
    out.commit();
  }

  std::string path_, format_;
  std::int64_t item_, tokens_ = 0, sequence_ = 0;
  std::vector<std::int32_t> lengths_;
  Output out_;
};

std::string shard_name(std::string const& output, std::size_t number) {
  auto const path = std::filesystem::path(output);
  char digits[16];
  std::snprintf(digits, sizeof digits, "_%03zu", number);
  return (path.parent_path() / (path.stem().string() + digits + path.extension().string())).string();
}

void check(PackOptions const& o) {
  auto const refuse = [](char const* rule, std::string found, std::string expected, std::string fix) {
    fail({.code = text("data.pack.", rule),
          .subject = "lamina data pack",
          .found = std::move(found),
          .expected = std::move(expected),
          .fix = std::move(fix)});
  };
  if (o.format != "nanogpt" && o.format != "llm.c" && o.format != "megatron") {
    refuse("format", text("format '", o.format, "'"), "nanogpt, llm.c or megatron", "correct --format");
  }
  if (!o.output.ends_with(".bin"))
    refuse("output", text("output '", o.output, "'"), "a name ending in .bin", "correct --output");
  if (o.shard_tokens < 1 || o.shard_tokens > INT32_MAX) {
    refuse("shard_tokens", text(o.shard_tokens, " tokens a shard"), "1 to 2147483647", "correct --shard-tokens");
  }
}

}  // namespace

PackReport pack(PackOptions const& o) {
  check(o);
  auto const tokenizer = Tokenizer::open(o.tokenizer);
  PackReport report{.shards = {}, .tokens = 0, .documents = 0, .vocab = tokenizer.vocab()};
  // Megatron takes u16 below 65,500; nanoGPT knows nothing wider.
  std::int64_t const item = tokenizer.vocab() < 65500 ? 2 : 4;
  if (item == 4 && o.format == "nanogpt") {
    fail({.code = "data.pack.wide",
          .subject = text("tokenizer '", o.tokenizer, "'"),
          .found = text(tokenizer.vocab(), " tokens, more than u16 holds"),
          .expected = "nanoGPT shards hold u16 tokens",
          .fix = "use --format llm.c or --format megatron"});
  }
  std::unique_ptr<Shard> shard;
  auto const open_shard = [&] {
    report.shards.push_back(shard_name(o.output, report.shards.size()));
    shard = std::make_unique<Shard>(report.shards.back(), o.format, item);
  };
  for (auto const& path : detail::expand(o.files)) {
    auto tokens = tokenizer.encode(read_text(path));
    if (o.end_of_text && tokenizer.end_of_text() >= 0) tokens.push_back(tokenizer.end_of_text());
    report.tokens += static_cast<std::int64_t>(tokens.size());
    ++report.documents;
    for (std::int64_t done = 0, count = static_cast<std::int64_t>(tokens.size()); done < count;) {
      if (!shard) open_shard();
      auto const n = std::min(count - done, o.shard_tokens - shard->tokens());
      shard->add(tokens.data() + done, n);
      done += n;
      if (shard->tokens() == o.shard_tokens) shard->commit(), shard.reset();
    }
    if (shard) shard->end_document();
  }
  if (shard) shard->commit();
  if (report.shards.empty()) {
    fail({.code = "data.pack.empty",
          .subject = text("text files ", join(o.files)),
          .found = "no byte of text",
          .expected = "at least one file that is not empty",
          .fix = "correct the files"});
  }
  if (report.shards.size() == 1) {  // one shard keeps the name that was asked for
    std::filesystem::rename(report.shards[0], o.output);
    if (o.format == "megatron") {
      std::filesystem::rename(std::filesystem::path(report.shards[0]).replace_extension(".idx"),
                              std::filesystem::path(o.output).replace_extension(".idx"));
    }
    report.shards[0] = o.output;
  }
  return report;
}

}  // namespace lamina::data
