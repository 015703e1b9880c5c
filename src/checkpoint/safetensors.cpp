#include "lamina/checkpoint/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "checkpoint/detail/json.hpp"
#include "checkpoint/detail/safetensors.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/io/file.hpp"

namespace lamina::checkpoint {
namespace {

using detail::Fields;
using detail::JsonSource;
using Entries = std::map<std::string, SafeTensors::Entry>;

constexpr std::int64_t largest_header = 100'000'000;
constexpr std::int64_t largest = INT64_MAX;

struct Bits {
  std::string_view dtype;
  std::int64_t bits;
};
constexpr Bits dtypes[] = {{"BOOL", 8},    {"U8", 8},          {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
                           {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"I16", 16}, {"U16", 16},    {"F8_E5M2FNUZ", 8},
                           {"F16", 16},    {"BF16", 16},       {"I32", 32}, {"U32", 32},    {"F32", 32},
                           {"F64", 64},    {"I64", 64},        {"U64", 64}, {"C64", 64},    {"F4", 4},
                           {"F6_E2M3", 6}, {"F6_E3M2", 6}};

/// A file that is not there is the user's bad input, not a broken file system.
io::File open_input(std::string const& path) {
  try {
    return io::File::open(path, io::Mode::read);
  } catch (Error const& e) {
    auto info = e.info();
    info.code = "checkpoint.safetensors.open";
    fail(info);
  }
}

/// The header of one file while it is checked.
class Header {
 public:
  explicit Header(std::string const& path) : path_(path), file_(open_input(path)) {
    source_ = {.code = "checkpoint.safetensors",
               .file = path,
               .begin = 8,
               .fix = "the file is malformed or damaged; get it again, or write it anew"};
  }

  Entries parse() {
    auto const bytes = file_.bytes();
    if (bytes < 8) refuse("too_short", bytes, "the file ends here", "at least 8 bytes: the length of the header");
    std::uint64_t length = 0;
    file_.read(&length, 8, 0);
    if (length > static_cast<std::uint64_t>(largest_header))
      refuse("header_length", 0, text("a header of ", length, " bytes"), text("at most ", largest_header));
    header_ = static_cast<std::int64_t>(length);
    if (header_ > bytes - 8)
      refuse("header_length", 0, text("a header of ", length, " bytes"),
             text("at most the ", bytes - 8, " that follow"));
    std::string s(static_cast<std::size_t>(length), '\0');
    file_.read(s.data(), header_, 8);
    json_ = detail::parse_json(source_, s, &places_);
    if (!json_.is_object()) refuse("header", 8, json_.type_name(), "a JSON object");
    for (auto const& [name, value] : json_.items()) {
      if (name == "__metadata__") {
        require_metadata(value);
      } else {
        entries_.emplace(name, parse_entry(name, value));
      }
    }
    require_seamless(bytes);
    return std::move(entries_);
  }

 private:
  [[noreturn]] void refuse(char const* rule, std::int64_t byte, std::string const& found, std::string expected) const {
    fail({.code = text("checkpoint.safetensors.", rule),
          .subject = path_,
          .found = text("byte ", byte, ": ", found),
          .expected = std::move(expected),
          .fix = source_.fix});
  }

  void require_metadata(nlohmann::json const& value) const {
    auto const at = places_.at("__metadata__");
    if (!value.is_object()) refuse("metadata", at, text("__metadata__ is ", value.type_name()), "an object");
    for (auto const& [key, x] : value.items()) {
      if (!x.is_string()) refuse("metadata", at, text("__metadata__.", key, " is ", x.type_name()), "strings only");
    }
  }

  SafeTensors::Entry parse_entry(std::string const& name, nlohmann::json const& value) const {
    auto const at = places_.at(name);
    Fields const f(source_, value, text("byte ", at, ": ", name));
    SafeTensors::Entry e{.dtype = f.string("dtype"), .shape = {}, .file = path_};
    auto const dtype =
        std::find_if(std::begin(dtypes), std::end(dtypes), [&](auto const& d) { return d.dtype == e.dtype; });
    if (dtype == std::end(dtypes))
      refuse("dtype", at, text(name, ": ", e.dtype.substr(0, 40)), "a dtype of the format");
    auto const& shape = f.array("shape");
    if (shape.size() > Shape::max_dims)
      refuse("dims", at, text(name, ": ", shape.size(), " dims"), text("at most ", Shape::max_dims));
    std::int64_t bits = dtype->bits;
    for (auto const& extent : shape) {
      if (!detail::is_integer_in(extent, 0, largest))
        f.refuse("shape", extent.dump().substr(0, 40), "extents from 0 on");
      if (__builtin_mul_overflow(bits, extent.get<std::int64_t>(), &bits))
        refuse("overflow", at, text(name, ": shape ", shape.dump()), "fewer than 2^63 bits");
      e.shape.push_back(extent.get<std::int64_t>());
    }
    if (bits % 8 != 0) refuse("bits", at, text(name, ": ", bits, " bits"), "whole bytes");
    parse_offsets(f, name, at, bits / 8, e);
    return e;
  }

  void parse_offsets(Fields const& f, std::string const& name, std::int64_t at, std::int64_t bytes,
                     SafeTensors::Entry& e) const {
    auto const& offsets = f.array("data_offsets");
    auto const fits = [](auto const& x) { return detail::is_integer_in(x, 0, largest); };
    if (offsets.size() != 2 || !std::all_of(offsets.begin(), offsets.end(), fits))
      f.refuse("data_offsets", offsets.dump().substr(0, 80), "two offsets from 0 on");
    e.begin = offsets[0].get<std::int64_t>(), e.end = offsets[1].get<std::int64_t>();
    if (e.end < e.begin) refuse("offsets", at, text(name, ": [", e.begin, ", ", e.end, "]"), "begin <= end");
    if (e.end - e.begin != bytes)
      refuse("size", at, text(name, ": ", e.end - e.begin, " bytes"), text(bytes, ", by its dtype and shape"));
  }

  /// In the order of the file each tensor begins where the one before ends, the last where the file ends. Turns
  /// offsets in the data into offsets in the file.
  void require_seamless(std::int64_t bytes) {
    std::vector<std::pair<std::string const, SafeTensors::Entry>*> order;
    for (auto& e : entries_) order.push_back(&e);
    std::sort(order.begin(), order.end(), [](auto const* a, auto const* b) {
      return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
    });
    std::int64_t end = 0;
    for (auto* e : order) {
      auto& [name, entry] = *e;
      if (entry.begin != end)
        refuse(entry.begin < end ? "overlap" : "hole", places_.at(name), text(name, " begins at ", entry.begin),
               text(end, ", where the tensor before it ends"));
      end = entry.end;
    }
    auto const data = 8 + header_;
    if (end != bytes - data)
      refuse(end < bytes - data ? "trailing" : "truncated", std::min(bytes, data + std::min(end, bytes)),
             text("the data end ", end < bytes - data ? "here, the file does not" : "beyond the file: it has ",
                  bytes - data, " bytes of them"),
             text(end, " bytes of data"));
    for (auto* e : order) e->second.begin += data, e->second.end += data;
  }

  std::string path_;
  io::File file_;
  JsonSource source_;
  std::int64_t header_ = 0;
  nlohmann::json json_;
  std::map<std::string, std::int64_t> places_;
  Entries entries_;
};

[[noreturn]] void refuse_index(std::string const& path, std::string found, std::string expected) {
  fail({.code = "checkpoint.safetensors.index",
        .subject = path,
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = "get the whole set of files again"});
}

Entries parse_sharded(std::string const& path) {
  JsonSource const source{.code = "checkpoint.safetensors", .file = path, .begin = 0, .fix = "get the index again"};
  auto const json = detail::parse_json(source, io::read_text(path, largest_header));
  Fields const top(source, json, "");
  auto const directory = std::filesystem::path(path).parent_path();
  std::map<std::string, Entries> files;
  Entries all;
  for (auto const& [name, file] : top.object("weight_map").items()) {
    if (!file.is_string()) top.refuse("weight_map", text(name, ": ", file.type_name()), "a file name");
    auto const& file_name = file.get_ref<std::string const&>();
    if (file_name.empty() || file_name.find('/') != std::string::npos || file_name.front() == '.')
      refuse_index(path, text(name, " in '", file_name, "'"), "the name of a file beside the index");
    if (!files.contains(file_name)) files[file_name] = Header((directory / file_name).string()).parse();
    auto const it = files[file_name].find(name);
    if (it == files[file_name].end())
      refuse_index(path, text("no ", name, " in ", file_name), "the tensor that it lists");
    all.emplace(name, it->second);
  }
  return all;
}

float from_f16(std::uint16_t h) {
  auto const sign = std::uint32_t{h & 0x8000u} << 16;
  auto const exponent = (h >> 10) & 0x1fu, fraction = h & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    auto const magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  auto const wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

template <class Stored, class Convert>
std::vector<float> convert(io::File const& file, SafeTensors::Entry const& e, Convert const& to_f32) {
  auto const count = static_cast<std::size_t>(e.end - e.begin) / sizeof(Stored);
  constexpr std::size_t block = 1 << 18;
  std::vector<Stored> stored(std::min(count, block));
  std::vector<float> result(count);
  for (std::size_t at = 0; at < count; at += block) {
    auto const n = std::min(block, count - at);
    file.read(stored.data(), static_cast<std::int64_t>(n * sizeof(Stored)),
              e.begin + static_cast<std::int64_t>(at * sizeof(Stored)));
    std::transform(stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(n),
                   result.begin() + static_cast<std::ptrdiff_t>(at), to_f32);
  }
  return result;
}

}  // namespace

SafeTensors SafeTensors::open(std::string const& path) {
  SafeTensors result;
  auto file = path;
  if (std::filesystem::is_directory(path)) {
    file = path + "/model.safetensors.index.json";
    if (!std::filesystem::exists(file)) file = path + "/model.safetensors";
  }
  result.entries_ = file.ends_with(".index.json") ? parse_sharded(file) : Header(file).parse();
  return result;
}

std::vector<float> SafeTensors::read(std::string const& name) const {
  auto const it = entries_.find(name);
  if (it == entries_.end()) {
    fail({.code = "checkpoint.safetensors.missing",
          .subject = name,
          .found = "no such tensor",
          .expected = text("one of the ", entries_.size(), " tensors of the file"),
          .fix = "check the name and the model"});
  }
  auto const& e = it->second;
  auto const file = open_input(e.file);
  if (e.dtype == "F32") return convert<float>(file, e, [](float x) { return x; });
  if (e.dtype == "F64") return convert<double>(file, e, [](double x) { return static_cast<float>(x); });
  if (e.dtype == "F16") return convert<std::uint16_t>(file, e, from_f16);
  if (e.dtype == "BF16")
    return convert<std::uint16_t>(file, e,
                                  [](std::uint16_t x) { return std::bit_cast<float>(std::uint32_t{x} << 16); });
  fail({.code = "checkpoint.safetensors.convert",
        .subject = text(e.file, ": ", name),
        .found = e.dtype,
        .expected = "F32, F16, BF16 or F64",
        .fix = "convert the tensor before"});
}

}  // namespace lamina::checkpoint
