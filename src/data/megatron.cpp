#include "data/detail/megatron.hpp"

#include <array>
#include <cstring>
#include <functional>
#include <optional>

#include "data/detail/file.hpp"
#include "data/detail/stream.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::data::detail {
namespace {

// Layout: magic 9, version u64, dtype u8, S u64, D u64, i32 lengths[S], i64 offsets[S], i64 documents[D], [i8
// modes[S]].
constexpr std::array<char, 9> magic{'M', 'M', 'I', 'D', 'I', 'D', 'X', '\0', '\0'};
constexpr std::int64_t header_bytes = 34;

std::optional<Element> element_of(std::uint8_t code) {
  switch (code) {
    case 1:
      return Element::u8;
    case 2:
      return Element::i8;
    case 3:
      return Element::i16;
    case 4:
      return Element::i32;
    case 5:
      return Element::i64;
    case 8:
      return Element::u16;
    default:
      return std::nullopt;  // 6 and 7 are floating point: no tokens
  }
}

class Index {
 public:
  explicit Index(std::string const& path) : file_(path) {
    std::array<char, header_bytes> head{};
    if (file_.bytes() < header_bytes) {
      bad("short", file_.bytes(), text(file_.bytes(), " bytes"), "at least 34 bytes of header");
    }
    file_.read(0, head.data(), header_bytes);
    if (std::memcmp(head.data(), magic.data(), magic.size()) != 0) bad("magic", 0, "other bytes", "MMIDIDX");
    auto const version = at<std::uint64_t>(head.data() + 9);
    if (version != 1) bad("version", 9, text("version ", version), "version 1");
    auto const code = at<std::uint8_t>(head.data() + 17);
    auto const type = element_of(code);
    if (!type)
      bad("dtype", 17, text("dtype code ", int{code}), "an integer type: 1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 8 u16");
    element = *type;
    auto const s = at<std::uint64_t>(head.data() + 18), d = at<std::uint64_t>(head.data() + 26);
    auto const limit = static_cast<std::uint64_t>(file_.bytes());
    if (s == 0) bad("count", 18, "0 sequences", "at least one");
    if (d == 0)
      bad("count", 26, "0 document boundaries", text("at least two: documents go from boundary to boundary, 0 to ", s));
    if (s > limit / 12) bad("count", 18, text(s, " sequences"), text("as many as ", limit, " bytes can index"));
    if (d > limit / 8) bad("count", 26, text(d, " document boundaries"), text("as many as ", limit, " bytes can hold"));
    sequences = static_cast<std::int64_t>(s), boundaries = static_cast<std::int64_t>(d);
    auto const size = header_bytes + 12 * sequences + 8 * boundaries;
    if (file_.bytes() != size && file_.bytes() != size + sequences) {
      bad("size", file_.bytes(), text(file_.bytes(), " bytes"), text(size, " bytes for the counts in the header"));
    }
  }

  /// Calls f(i, value) for each element of an array of the index, in order.
  template <class T>
  void each(std::int64_t offset, std::int64_t count, std::function<void(std::int64_t, T)> const& f) const {
    std::array<char, 8192 * sizeof(T)> raw;
    for (std::int64_t done = 0; done < count; done += 8192) {
      auto const n = std::min<std::int64_t>(8192, count - done);
      file_.read(offset + done * static_cast<std::int64_t>(sizeof(T)), raw.data(),
                 n * static_cast<std::int64_t>(sizeof(T)));
      for (std::int64_t i = 0; i < n; ++i) f(done + i, at<T>(raw.data() + i * static_cast<std::int64_t>(sizeof(T))));
    }
  }

  /// Checks the arrays and returns the number of tokens.
  std::int64_t check(std::int64_t data_bytes) const {
    auto const item = bytes_of(element);
    std::int64_t total = 0;
    auto const lengths = header_bytes, offsets = lengths + 4 * sequences, documents_at = offsets + 8 * sequences;
    // Offsets are prefix sums of lengths: both arrays walked block by block in step.
    constexpr std::int64_t block = 8192;
    std::array<std::int64_t, block> expected;
    for (std::int64_t first = 0; first < sequences; first += block) {
      auto const n = std::min(block, sequences - first);
      each<std::int32_t>(lengths + 4 * first, n, [&](std::int64_t i, std::int32_t length) {
        if (length < 0)
          bad("length", lengths + 4 * (first + i), text("length ", length), "a length that is not negative");
        expected[static_cast<std::size_t>(i)] = total * item;
        total += length;
      });
      each<std::int64_t>(offsets + 8 * first, n, [&](std::int64_t i, std::int64_t offset) {
        auto const want = expected[static_cast<std::size_t>(i)];
        if (offset != want) {
          bad("offset", offsets + 8 * (first + i), text("sequence ", first + i, " at byte ", offset),
              text("byte ", want, ", where the sequence before ends"));
        }
      });
    }
    std::int64_t last = 0;
    each<std::int64_t>(documents_at, boundaries, [&](std::int64_t i, std::int64_t document) {
      bool const right = i == 0 ? document == 0 : document >= last && document <= sequences;
      if (!right || (i + 1 == boundaries && document != sequences)) {
        bad("document", documents_at + 8 * i, text("document boundary ", document),
            text("boundaries that rise from 0 to ", sequences));
      }
      last = document;
    });
    if (total == 0) bad("tokens", lengths, "only sequences of length 0", "at least one token");
    if (data_bytes != total * item) {
      bad("tokens", header_bytes, text("a .bin file of ", data_bytes, " bytes"),
          text(total * item, " bytes: ", total, " tokens of ", item, " bytes"));
    }
    return total;
  }

  Element element = Element::u16;
  std::int64_t sequences = 0, boundaries = 0;

 private:
  template <class T>
  static T at(char const* p) {  // the arrays are not aligned
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
  }

  [[noreturn]] void bad(char const* rule, std::int64_t offset, std::string found, std::string expected) const {
    fail({.code = text("data.megatron.", rule),
          .subject = text("Megatron index '", file_.path(), "', offset ", offset),
          .found = std::move(found),
          .expected = std::move(expected),
          .fix = "build the .idx and .bin pair again with Megatron's preprocess_data.py or `lamina data pack`"});
  }

  File file_;
};

}  // namespace

bool is_megatron_index(std::string const& path) {
  File const file(path);
  std::array<char, 9> head{};
  if (file.bytes() < 9) return false;
  file.read(0, head.data(), 9);
  return head == magic;
}

std::unique_ptr<TokenFile> open_megatron(std::string const& index_path, std::string const& tokens_path) {
  Index const index(index_path);
  auto file = std::make_shared<File>(tokens_path);
  auto const count = index.check(file->bytes());
  auto tokens = std::make_unique<StreamFile>(std::move(file), "megatron", index.element, 0, count);
  tokens->documents = std::max<std::int64_t>(0, index.boundaries - 1);
  return tokens;
}

}  // namespace lamina::data::detail
