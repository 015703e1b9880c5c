#include "lamina/base/hash.hpp"

#include <gtest/gtest.h>

namespace lamina {
namespace {

// Expected values: `xxhsum -H3` and `xxhsum -H2`, which print the canonical form.
TEST(Hash, equals_what_xxhsum_prints) {
  EXPECT_EQ(hex(hash64("")), "2d06800538d394c2");
  EXPECT_EQ(hex(hash64("a")), "e6c632b61e964e1f");
  EXPECT_EQ(hex(hash64("abc")), "78af5f94892f3950");
  EXPECT_EQ(hex(hash128("")), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hex(hash128("a")), "a96faf705af16834e6c632b61e964e1f");
  EXPECT_EQ(hex(hash128("abc")), "06b05ab6733a618578af5f94892f3950");
}

TEST(Hash, a_stream_in_pieces_equals_the_whole) {
  std::string whole;
  for (int i = 0; i < 5000; ++i) whole += static_cast<char>(i * 7 + i / 256);
  for (std::size_t piece : {1, 7, 240, 241, 1024, 5000}) {  // 240 is where XXH3 changes its algorithm
    for (std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{42}}) {
      Hasher h(seed);
      for (std::size_t at = 0; at < whole.size(); at += piece) h.update(std::string_view(whole).substr(at, piece));
      EXPECT_EQ(h.digest64(), hash64(whole, seed));
      EXPECT_EQ(h.digest128(), hash128(whole, seed));
    }
  }
  for (std::size_t length : {0, 1, 16, 17, 128, 240, 241}) {
    auto const part = std::string_view(whole).substr(0, length);
    EXPECT_EQ(Hasher().update(part).digest64(), hash64(part)) << length;
    EXPECT_EQ(Hasher().update(part).digest128(), hash128(part)) << length;
  }
}

TEST(Hash, seeds_and_bits_matter) {
  EXPECT_NE(hash64("abc", 1), hash64("abc", 2));
  EXPECT_NE(hash128("abc", 1), hash128("abc", 2));
  EXPECT_NE(hash64("abc"), hash64("abd"));
  EXPECT_NE(hash64(std::string_view("\0", 1)), hash64(std::string_view("\0\0", 2)));
}

TEST(Hash, a_sum_carries_and_does_not_depend_on_the_order) {
  Hash128 sum{.low = ~std::uint64_t{0}, .high = 1};
  sum += {.low = 2, .high = 5};
  EXPECT_EQ(sum, (Hash128{.low = 1, .high = 7}));
  Hash128 ab, ba;
  ab += hash128("a"), ab += hash128("b");
  ba += hash128("b"), ba += hash128("a");
  EXPECT_EQ(ab, ba);
}

TEST(Hash, hex_reads_back_and_refuses_the_rest) {
  auto const h = hash128("x");
  EXPECT_EQ(find_hash128(hex(h)), h);
  EXPECT_EQ(find_hash64(hex(h.low)), h.low);
  EXPECT_EQ(find_hash64("0"), std::nullopt);
  EXPECT_EQ(find_hash64("2d06800538d394cg"), std::nullopt);
  EXPECT_EQ(find_hash64("-d06800538d394c2"), std::nullopt);
  EXPECT_EQ(find_hash128(hex(h.low)), std::nullopt);
  EXPECT_EQ(find_hash128(""), std::nullopt);
}

}  // namespace
}  // namespace lamina
