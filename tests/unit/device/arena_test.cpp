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
    device::Arena arena(bytes);
    EXPECT_EQ(arena.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena.at(0)) % 64, 0u);
    auto* const data = static_cast<char*>(arena.at(0));
    EXPECT_EQ(std::count(data, data + bytes, 0), bytes);
    static_cast<char*>(arena.at(bytes - 1))[0] = 'x';
    EXPECT_EQ(data[bytes - 1], 'x');
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

TEST(Arena, says_what_to_do_when_the_system_refuses) {
  for (std::int64_t const bytes : {std::int64_t{1} << 60, std::int64_t{-1}}) {
    try {
      device::Arena const arena(bytes);
      ADD_FAILURE() << "an arena of " << bytes << " bytes was granted";
    } catch (Error const& e) {
      EXPECT_EQ(e.info().code, "device.memory.arena");
      EXPECT_EQ(e.exit_code(), ExitCode::memory);
    }
  }
}

}  // namespace
}  // namespace lamina
