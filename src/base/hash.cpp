#include "lamina/base/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <charconv>

namespace lamina {

struct Hasher::State {
  XXH3_state_t xxh;  // aligned to 64 by its own declaration, which operator new honours
};

std::uint64_t hash64(void const* data, std::size_t bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}
std::uint64_t hash64(std::string_view s, std::uint64_t seed) { return hash64(s.data(), s.size(), seed); }

Hash128 hash128(void const* data, std::size_t bytes, std::uint64_t seed) {
  auto const h = XXH3_128bits_withSeed(data, bytes, seed);
  return {.low = h.low64, .high = h.high64};
}
Hash128 hash128(std::string_view s, std::uint64_t seed) { return hash128(s.data(), s.size(), seed); }

// One state serves both widths: the 64- and the 128-bit variant differ only in the last mixing.
Hasher::Hasher(std::uint64_t seed) : state_(std::make_unique<State>()) {
  XXH3_INITSTATE(&state_->xxh);
  XXH3_128bits_reset_withSeed(&state_->xxh, seed);
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

Hasher& Hasher::update(void const* data, std::size_t bytes) {
  if (bytes > 0) XXH3_128bits_update(&state_->xxh, data, bytes);
  return *this;
}

std::uint64_t Hasher::digest64() const { return XXH3_64bits_digest(&state_->xxh); }

Hash128 Hasher::digest128() const {
  auto const h = XXH3_128bits_digest(&state_->xxh);
  return {.low = h.low64, .high = h.high64};
}

std::string hex(std::uint64_t h) {
  constexpr std::string_view symbols = "0123456789abcdef";
  std::string s(16, '0');
  for (std::size_t i = 0; i < 16; ++i) s[15 - i] = symbols[(h >> (4 * i)) & 15];
  return s;
}

std::string hex(Hash128 const& h) { return hex(h.high) + hex(h.low); }

std::optional<std::uint64_t> find_hash64(std::string_view digits) {
  std::uint64_t h = 0;
  auto const* const end = digits.data() + digits.size();
  if (digits.size() != 16 || std::from_chars(digits.data(), end, h, 16).ptr != end) return std::nullopt;
  return h;
}

std::optional<Hash128> find_hash128(std::string_view digits) {
  if (digits.size() != 32) return std::nullopt;
  auto const high = find_hash64(digits.substr(0, 16)), low = find_hash64(digits.substr(16));
  if (!high || !low) return std::nullopt;
  return Hash128{.low = *low, .high = *high};
}

}  // namespace lamina
