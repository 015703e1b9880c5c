#include "lamina/base/philox.hpp"

#include <gtest/gtest.h>

namespace lamina {
namespace {

// Known answers of philox4x32-10 from the file kat_vectors of Random123, the authors' own implementation.
TEST(Philox, gives_the_known_answers_of_random123) {
  using Words = Philox::Words;
  EXPECT_EQ(Philox::words(0, {0, 0, 0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox::words(~std::uint64_t{0}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox::words(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, addresses_elements_by_seed_element_step_and_operation) {
  std::uint64_t const far = (std::uint64_t{1} << 40) + 6;
  auto const block = Philox::block(9, far, 3, 17);
  EXPECT_EQ(block, Philox::words(9, {std::uint32_t(far / 4), std::uint32_t(far / 4 >> 32), 3, 17}));
  EXPECT_EQ(Philox::block(9, far + 1, 3, 17), block) << "the four elements of a block share it";
  EXPECT_EQ(Philox::word(9, far, 3, 17), block[2]);
  EXPECT_NE(Philox::word(9, far, 4, 17), block[2]);
  EXPECT_NE(Philox::word(9, far, 3, 18), block[2]);
  EXPECT_NE(Philox::word(8, far, 3, 17), block[2]);
}

TEST(Philox, uniform_is_below_one_and_exact) {
  EXPECT_EQ(Philox::uniform(0), 0.0f);
  EXPECT_EQ(Philox::uniform(0xffffffff), 1.0f - 0x1p-24f);
  EXPECT_EQ(Philox::uniform(0x80000000), 0.5f);
  EXPECT_EQ(Philox::uniform(0xff), 0.0f) << "the lower 8 bits do not count";
}

static_assert(Philox::words(0, {0, 0, 0, 0})[0] == 0x6627e8d5, "usable at compile time");

}  // namespace
}  // namespace lamina
