#include "comm/detail/peer_memory.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>

#include "lamina/base/error.hpp"

namespace lamina::comm::detail {
namespace {

std::uint64_t address(void const* p) { return reinterpret_cast<std::uint64_t>(p); }

TEST(PeerMemory, comes_from_the_other_process_in_any_number_of_runs) {
  std::vector<int> values(1000);
  int to_child[2], to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  char word = 0;
  pid_t const child = fork();
  if (child == 0) {  // what it writes is its own
    std::iota(values.begin(), values.end(), 5);
    bool const told = write(to_parent[1], "r", 1) == 1 && read(to_child[0], &word, 1) == 1;
    _exit(told ? 0 : 1);
  }
  ASSERT_EQ(read(to_parent[0], &word, 1), 1);
  std::vector<int> found(values.size(), -1);
  std::vector<RemoteRun> runs;  // every other value, last one first: more runs than one call takes
  for (std::size_t i = 0; i < values.size(); i += 2) {
    runs.push_back({address(&values[values.size() - 1 - i]), reinterpret_cast<char*>(&found[i]), sizeof(int)});
  }
  ASSERT_TRUE(read_peer(child, runs));
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(found[i], i % 2 == 0 ? static_cast<int>(values.size() - 1 - i) + 5 : -1) << i;
  }
  ASSERT_EQ(write(to_child[1], "q", 1), 1);
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  for (int const end : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(end);
}

TEST(PeerMemory, is_missed_when_the_process_or_what_was_mapped_there_is_gone) {
  pid_t const child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  auto const page = static_cast<std::size_t>(getpagesize());
  auto* const two =
      static_cast<char*>(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(two + page, page);
  std::vector<char> found(2 * page);
  auto const reads = [&](pid_t process, std::uint64_t from, std::size_t bytes) {
    std::vector<RemoteRun> const runs{{from, found.data(), static_cast<std::int64_t>(bytes)}};
    return read_peer(process, runs);
  };
  EXPECT_FALSE(reads(child, address(two), 1));
  EXPECT_FALSE(reads(getpid(), 64, 1));
  EXPECT_FALSE(reads(getpid(), address(two), page + 1)) << "the second page is gone";
  EXPECT_TRUE(reads(getpid(), address(two), page));
  munmap(two, page);
}

std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t pages = 0;
  file >> pages >> pages;
  return pages * getpagesize();
}

TEST(PeerBlock, shows_what_the_other_process_writes_and_does_not_stay_resident) {
  constexpr std::int64_t bytes = std::int64_t{64} << 20;
  device::Arena arena(bytes, device::Arena::Sharing::neighbours);
  auto const shared = device::Arena::shared_block_of(arena.at(0));
  if (!shared) GTEST_SKIP() << "no shared huge pages here";
  auto* const words = static_cast<std::int64_t*>(arena.at(0));
  auto const block = PeerBlock::open(getpid(), *shared);
  ASSERT_TRUE(block);
  auto const before = resident_bytes();
  std::int64_t most = 0;
  for (std::int64_t at = 0; at + (3 << 20) < bytes; at += 1 << 20) {
    words[at / 8] = at + 1;
    std::int64_t found = 0;
    auto const part = block->read(reinterpret_cast<std::uint64_t>(words + at / 8), 3 << 20);
    ASSERT_EQ(std::ssize(part), (2 << 20) - at % (2 << 20)) << "to the end of the huge page";
    std::memcpy(&found, part.data(), sizeof found);
    ASSERT_EQ(found, at + 1);
    most = std::max(most, resident_bytes() - before);
  }
  block->forget();
  EXPECT_LT(most, std::int64_t{5} << 20);
  auto changed = *shared;
  ++changed.inode;
  EXPECT_FALSE(PeerBlock::open(getpid(), changed)) << "another file of that number";
  changed.file = 12345;
  EXPECT_FALSE(PeerBlock::open(getpid(), changed));
}

TEST(PeerMemory, is_copied_past_the_caches_from_and_to_any_address) {
  std::vector<char> from(1000), to(1000);
  std::iota(from.begin(), from.end(), 'a');
  for (std::int64_t const count : {0, 1, 63, 64, 65, 200, 700}) {
    for (std::size_t shift = 0; shift < 130; shift += 13) {
      std::ranges::fill(to, '-');
      copy_streaming(to.data() + shift, from.data() + shift / 2, count);
      for (std::size_t i = 0; i < to.size(); ++i) {
        bool const inside = i >= shift && i < shift + static_cast<std::size_t>(count);
        ASSERT_EQ(to[i], inside ? from[i - shift + shift / 2] : '-') << count << " to " << shift << ", " << i;
      }
    }
  }
}

TEST(Neighbours, of_a_group_are_those_of_its_members) {
  Neighbours const world{{11, 12, 0, 14}};
  EXPECT_FALSE(Neighbours{}.all());
  EXPECT_FALSE(world.all());
  EXPECT_TRUE(world.of(std::vector{3, 0}).all());
  EXPECT_EQ(world.of(std::vector{3, 0}).processes, (std::vector<std::int64_t>{14, 11}));
  EXPECT_FALSE(world.of(std::vector{1, 2}).all());
}

}  // namespace
}  // namespace lamina::comm::detail
