#include "lamina/base/philox.hpp"
#include "lamina/data/source.hpp"

namespace lamina::data {
namespace {

/// A permutation of [0, n) without a table: a Feistel network of 8 rounds over the smallest even number of bits that
/// holds n, walked until the value falls below n (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA
/// 2002). On average fewer than 4 walks.
std::int64_t permute(std::int64_t index, std::int64_t n, std::uint64_t key, std::uint32_t epoch) {
  int half = 1;
  while ((std::int64_t{1} << (2 * half)) < n) ++half;
  auto const mask = (std::uint64_t{1} << half) - 1;
  auto x = static_cast<std::uint64_t>(index);
  do {
    auto left = x >> half, right = x & mask;
    for (std::uint32_t round = 0; round < 8; ++round) {
      // "smpl" keeps these words apart from those of dropout and initial values.
      auto const words =
          Philox::words(key, {static_cast<std::uint32_t>(right),
                              static_cast<std::uint32_t>(right >> 32) ^ (round << 24), epoch, 0x736d706cu});
      auto const mixed = (left ^ (words[0] | std::uint64_t{words[1]} << 32)) & mask;
      left = right, right = mixed;
    }
    x = left << half | right;
  } while (x >= static_cast<std::uint64_t>(n));
  return static_cast<std::int64_t>(x);
}

}  // namespace

std::int64_t sample_at(std::int64_t position, std::int64_t samples, bool shuffle, std::int64_t seed) {
  auto const epoch = position / samples, index = position % samples;
  if (!shuffle) return index;
  return permute(index, samples, static_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(epoch));
}

}  // namespace lamina::data
