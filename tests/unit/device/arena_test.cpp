#include "lamina/device/arena.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "lamina/base/error.hpp"

namespace lamina {
namespace {

TEST(Arena, is_zero_filled_aligned_and_writable_to_its_last_byte) {
  for (std::int64_t const bytes :
       {std::int64_t{1}, std::int64_t{4096}, std::int64_t{2'097'152}, std::int64_t{3'000'001}}) {
    for (auto const sharing : {device::Arena::Sharing::none, device::Arena::Sharing::neighbours}) {
      device::Arena arena(bytes, sharing);
      EXPECT_EQ(arena.bytes(), bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena.at(0)) % 64, 0u);
      auto* const data = static_cast<char*>(arena.at(0));
      EXPECT_EQ(std::count(data, data + bytes, 0), bytes);
      static_cast<char*>(arena.at(bytes - 1))[0] = 'x';
      EXPECT_EQ(data[bytes - 1], 'x');
    }
  }
}

TEST(Arena, of_no_bytes_is_allowed_and_has_no_memory) {
  device::Arena const none(0), made_by_default;
  EXPECT_EQ(none.bytes(), 0);
  EXPECT_EQ(none.at(0), nullptr);
  EXPECT_EQ(made_by_default.bytes(), 0);
}

TEST(Arena, moves_its_memory_and_frees_it_once) {
  device::Arena a(100);
  auto* const data = static_cast<char*>(a.at(0));
  data[7] = 'q';
  device::Arena b(std::move(a)), c(5);
  c = std::move(b);
  EXPECT_EQ(c.at(0), data);
  EXPECT_EQ(static_cast<char*>(c.at(7))[0], 'q');
  EXPECT_EQ(c.bytes(), 100);
}

/// Kernels before 6.1 have no shared huge pages of this kind.
TEST(Arena, that_is_shared_is_known_by_its_addresses_as_long_as_it_lives) {
  constexpr std::int64_t bytes = 5'000'000;
  device::Arena const own(bytes);
  EXPECT_FALSE(device::Arena::shared_block_of(own.at(0)));
  char* outlived = nullptr;
  {
    device::Arena first(bytes, device::Arena::Sharing::neighbours), second(bytes, device::Arena::Sharing::neighbours);
    auto const block = device::Arena::shared_block_of(first.at(0));
    if (!block) GTEST_SKIP() << "no shared huge pages here";
    EXPECT_EQ(block->base, reinterpret_cast<std::uint64_t>(first.at(0)));
    EXPECT_EQ(block->base % (2 << 20), 0u);
    EXPECT_EQ(block->bytes, 6 << 20);
    EXPECT_EQ(device::Arena::shared_block_of(first.at(bytes - 1))->inode, block->inode);
    EXPECT_NE(device::Arena::shared_block_of(second.at(0))->inode, block->inode);
    device::Arena const moved(std::move(first));
    EXPECT_EQ(device::Arena::shared_block_of(moved.at(7))->inode, block->inode);
    outlived = static_cast<char*>(moved.at(0));
  }
  EXPECT_FALSE(device::Arena::shared_block_of(outlived));
}

TEST(Arena, says_what_to_do_when_the_system_refuses) {
  for (std::int64_t const bytes : {std::int64_t{1} << 60, std::int64_t{-1}}) {
    try {
      device::Arena const arena(bytes, device::Arena::Sharing::neighbours);
      ADD_FAILURE() << "an arena of " << bytes << " bytes was granted";
    } catch (Error const& e) {
      EXPECT_EQ(e.info().code, "device.memory.arena");
      EXPECT_EQ(e.exit_code(), ExitCode::memory);
    }
  }
}

}  // namespace
}  // namespace lamina
