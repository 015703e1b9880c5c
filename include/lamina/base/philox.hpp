#pragma once

#include <array>
#include <cstdint>

namespace lamina {

/// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as
/// 1, 2, 3" (SC 2011). A pure function: equal key and counter give equal words everywhere.
struct Philox {
  using Words = std::array<std::uint32_t, 4>;

  static constexpr Words words(std::uint64_t key, Words counter) {
    auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      auto const p0 = std::uint64_t{0xD2511F53u} * counter[0], p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
      counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<std::uint32_t>(p1),
                 static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<std::uint32_t>(p0)};
      k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return counter;
  }

  /// The four words of elements 4 * (element / 4) .. + 3 of the random tensor (seed, step, operation):
  /// counter = (element / 4 low, high, step, operation), word = element % 4.
  static constexpr Words block(std::uint64_t seed, std::uint64_t element, std::uint32_t step, std::uint32_t operation) {
    auto const quad = element / 4;
    return words(seed, {static_cast<std::uint32_t>(quad), static_cast<std::uint32_t>(quad >> 32), step, operation});
  }

  static constexpr std::uint32_t word(std::uint64_t seed, std::uint64_t element, std::uint32_t step,
                                      std::uint32_t operation) {
    return block(seed, element, step, operation)[element % 4];
  }

  /// Uniform in [0, 1): the upper 24 bits of a word, exact in f32.
  static constexpr float uniform(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
};

}  // namespace lamina
