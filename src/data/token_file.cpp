#include "lamina/data/token_file.hpp"

#include <array>
#include <cstring>
#include <filesystem>
#include <vector>

#include "data/detail/file.hpp"
#include "data/detail/megatron.hpp"
#include "data/detail/stream.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data {
namespace {

using detail::File;

// llm.c: 256 i32 of header, then tokens. Two variants by magic number.
constexpr std::int64_t llmc_header_bytes = 1024;
constexpr std::int32_t llmc_magic = 20240520, llmc_llama3_magic = 20240801, llmc_eval_magic = 20240522;

std::unique_ptr<TokenFile> open_llmc(std::shared_ptr<File> file, std::array<std::int32_t, 3> const& header) {
  bool const llama3 = header[0] == llmc_llama3_magic;
  auto const version = llama3 ? 7 : 1;
  auto const bad = [&](char const* rule, std::int64_t offset, std::string found, std::string expected) {
    fail({.code = text("data.llmc.", rule),
          .subject = text("token file '", file->path(), "', offset ", offset),
          .found = std::move(found),
          .expected = std::move(expected),
          .fix = "write the shard again with llm.c's data script or `lamina data pack`"});
  };
  if (header[0] == llmc_eval_magic) {
    bad("eval_file", 0, "the magic number of an llm.c evaluation file", "a token shard (magic 20240520 or 20240801)");
  }
  if (header[1] != version) bad("version", 4, text("version ", header[1]), text("version ", version));
  if (header[2] < 1) bad("count", 8, text("token count ", header[2]), "at least one token");
  std::int64_t const item = llama3 ? 4 : 2, expected = llmc_header_bytes + std::int64_t{header[2]} * item;
  if (file->bytes() != expected) {
    bad("size", file->bytes(), text(file->bytes(), " bytes"),
        text(expected, " bytes: 1,024 of header and ", header[2], " tokens of ", item, " bytes"));
  }
  auto const type = llama3 ? detail::Element::u32 : detail::Element::u16;
  return std::make_unique<detail::StreamFile>(std::move(file), llama3 ? "llm.c-llama3" : "llm.c", type,
                                              llmc_header_bytes, header[2]);
}

}  // namespace

std::unique_ptr<TokenFile> open_tokens(std::string const& path) {
  namespace fs = std::filesystem;
  auto const index = fs::path(path).replace_extension(".idx"), tokens = fs::path(path).replace_extension(".bin");
  bool const has_index = fs::exists(index) && detail::is_megatron_index(index.string());
  if (fs::path(path).extension() == ".idx" || (fs::path(path).extension() == ".bin" && has_index)) {
    return detail::open_megatron(index.string(), tokens.string());
  }
  auto file = std::make_shared<File>(path);
  if (file->bytes() >= llmc_header_bytes) {
    std::array<std::int32_t, 3> header{};
    file->read(0, header.data(), sizeof header);
    if (header[0] == llmc_magic || header[0] == llmc_llama3_magic || header[0] == llmc_eval_magic) {
      return open_llmc(std::move(file), header);
    }
  }
  if (file->bytes() == 0 || file->bytes() % 2 != 0) {
    fail({.code = "data.nanogpt.size",
          .subject = text("token file '", path, "'"),
          .found = file->bytes() == 0 ? "an empty file" : text("an odd number of bytes, ", file->bytes()),
          .expected = "u16 tokens as nanoGPT writes them, an llm.c shard, or a Megatron .idx beside a .bin",
          .fix = "is it text? use data.kind = \"text\", or make shards with `lamina data pack`"});
  }
  std::int64_t const count = file->bytes() / 2;
  return std::make_unique<detail::StreamFile>(std::move(file), "nanogpt", detail::Element::u16, 0, count);
}

std::unique_ptr<TokenFile> open_bytes(std::string const& path) {
  auto file = std::make_shared<File>(path);
  auto const count = file->bytes();
  return std::make_unique<detail::StreamFile>(std::move(file), "bytes", detail::Element::u8, 0, count);
}

namespace detail {

std::int64_t bytes_of(Element e) {
  switch (e) {
    case Element::u8:
    case Element::i8:
      return 1;
    case Element::i16:
    case Element::u16:
      return 2;
    case Element::i32:
    case Element::u32:
      return 4;
    case Element::i64:
      return 8;
  }
  return 0;
}

std::string_view name_of(Element e) {
  constexpr std::array<std::string_view, 7> names{"u8", "i8", "i16", "u16", "i32", "u32", "i64"};
  return names[static_cast<std::size_t>(e)];
}

StreamFile::StreamFile(std::shared_ptr<File> file, std::string format_name, Element element, std::int64_t offset,
                       std::int64_t count)
    : file_(std::move(file)), element_(element), offset_(offset), count_(count) {
  path = file_->path();
  format = std::move(format_name);
  dtype = std::string(name_of(element));
  bytes = file_->bytes();
}

void StreamFile::read(std::int64_t first, std::int64_t count, std::int64_t vocab, std::int32_t* out) const {
  auto const item = bytes_of(element_);
  constexpr std::int64_t chunk = 8192;  // elements: one block of stack memory
  std::array<char, chunk * 8> raw;
  for (std::int64_t done = 0; done < count; done += chunk) {
    auto const n = std::min(chunk, count - done);
    auto const at = offset_ + (first + done) * item;
    file_->read(at, raw.data(), n * item);
    auto const convert = [&]<class T>(T) {
      for (std::int64_t i = 0; i < n; ++i) {
        T value;
        std::memcpy(&value, raw.data() + i * item, sizeof value);
        auto const token = static_cast<std::int64_t>(value);  // NOLINT(bugprone-signed-char-misuse): a number
        if (token < 0 || token > INT32_MAX || (vocab > 0 && token >= vocab)) {
          fail({.code = "data.tokens.range",
                .subject = text("token file '", path, "', offset ", at + i * item),
                .found = text("token ", token),
                .expected =
                    vocab > 0 ? text("0 <= token < ", vocab, " (model.vocab)") : std::string("0 <= token < 2^31"),
                .fix = "set model.vocab to the vocabulary that the file was made with, or make the file again (`lamina "
                       "data inspect` reads it whole); a run goes on from its last checkpoint"});
        }
        out[done + i] = static_cast<std::int32_t>(token);
      }
    };
    switch (element_) {
      case Element::u8:
        convert(std::uint8_t{});
        break;
      case Element::i8:
        convert(std::int8_t{});
        break;
      case Element::i16:
        convert(std::int16_t{});
        break;
      case Element::u16:
        convert(std::uint16_t{});
        break;
      case Element::i32:
        convert(std::int32_t{});
        break;
      case Element::u32:
        convert(std::uint32_t{});
        break;
      case Element::i64:
        convert(std::int64_t{});
        break;
    }
  }
}

}  // namespace detail
}  // namespace lamina::data
