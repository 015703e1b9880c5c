#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

/// XXH3 (Yann Collet, xxHash 0.8, a frozen format): equal on every machine and in every version. Not cryptographic.
namespace lamina {

/// A sum of 128-bit hashes modulo 2^128 does not depend on the order: how a checksum of parts is put together.
struct Hash128 {
  std::uint64_t low = 0, high = 0;

  friend bool operator==(Hash128 const&, Hash128 const&) = default;
  Hash128& operator+=(Hash128 const& b) {
    low += b.low;
    high += b.high + (low < b.low ? 1 : 0);
    return *this;
  }
};

std::uint64_t hash64(void const* data, std::size_t bytes, std::uint64_t seed = 0);
std::uint64_t hash64(std::string_view s, std::uint64_t seed = 0);
Hash128 hash128(void const* data, std::size_t bytes, std::uint64_t seed = 0);
Hash128 hash128(std::string_view s, std::uint64_t seed = 0);

/// Hash of a stream: equal to the hash of all pieces as one.
class Hasher {
 public:
  explicit Hasher(std::uint64_t seed = 0);
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  Hasher& update(void const* data, std::size_t bytes);
  Hasher& update(std::string_view s) { return update(s.data(), s.size()); }
  std::uint64_t digest64() const;
  Hash128 digest128() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 16 or 32 hex digits, most significant first, as xxhsum prints them.
std::string hex(std::uint64_t h);
std::string hex(Hash128 const& h);
/// Inverse of hex; nothing for other lengths and other characters.
std::optional<std::uint64_t> find_hash64(std::string_view digits);
std::optional<Hash128> find_hash128(std::string_view digits);

}  // namespace lamina
