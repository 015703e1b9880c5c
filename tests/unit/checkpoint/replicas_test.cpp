#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

#include "support/checkpoint_cases.hpp"
#include "support/errors.hpp"

namespace lamina::checkpoint {
namespace {

std::int64_t bytes_of(std::vector<Piece> const& pieces) {
  std::int64_t bytes = 0;
  for (auto const& p : pieces) bytes += p.memory.spec.bytes();
  return bytes;
}

TEST(Replicas, own_every_element_once_with_the_memory_it_lies_in) {
  auto whole = test::make_shard(test::Split::replicated, 0, 1, 3);
  for (int n : {1, 2, 3, 7, 64}) {
    std::map<std::pair<Role, std::string>, std::vector<int>> owners;
    std::map<std::pair<Role, std::string>, float const*> memory;
    for (auto const& p : whole.pieces()) {
      owners[{p.role, p.name}].resize(static_cast<std::size_t>(p.global_shape.count()));
      memory[{p.role, p.name}] = p.memory.as<float>();
    }
    for (int r = 0; r < n; ++r) {
      for (auto const& p : split_among_replicas(whole.pieces(), r, n)) {
        ASSERT_EQ(p.slabs.size(), 1u);
        EXPECT_TRUE(p.owner);
        std::vector<io::Box> const boxes{{p.slabs[0].offset, p.slabs[0].extent}};
        for (auto const& run : io::runs_of(p.name, p.global_shape, boxes)) {
          EXPECT_EQ(p.memory.as<float>() + run.local, (memory[{p.role, p.name}]) + run.global);
          for (std::int64_t i = 0; i < run.count; ++i)
            ++owners[{p.role, p.name}][static_cast<std::size_t>(run.global + i)];
        }
      }
    }
    for (auto const& [key, counts] : owners)
      for (int const c : counts) ASSERT_EQ(c, 1) << key.second << " n=" << n;
  }
}

TEST(Replicas, write_equal_numbers_of_bytes_to_within_a_row) {
  auto whole = test::make_shard(test::Split::replicated, 0, 1, 3);
  auto const total = bytes_of(whole.pieces());
  std::int64_t const largest_row = 4 * 4 * 5 * 70;
  for (int n : {2, 3, 5}) {
    for (int r = 0; r < n; ++r) {
      auto const mine = bytes_of(split_among_replicas(whole.pieces(), r, n));
      EXPECT_NEAR(static_cast<double>(mine), static_cast<double>(total) / n, static_cast<double>(largest_row))
          << r << "/" << n;
    }
  }
}

TEST(Replicas, cut_one_dim_tensors_at_checksum_cells) {
  test::Shard shard;
  shard.add({"v", Role::parameter, {1000}}, {test::part_of({1000}, 0, 1, 3)}, 1);  // elements 334 .. 666
  for (int r = 0; r < 5; ++r) {
    for (auto const& p : split_among_replicas(shard.pieces(), r, 5)) {
      auto const begin = p.slabs[0].offset[0], end = begin + p.slabs[0].extent[0];
      EXPECT_TRUE(begin == 334 || begin % 64 == 0) << begin;
      EXPECT_TRUE(end == 667 || end % 64 == 0) << end;
    }
  }
}

TEST(Replicas, leave_out_what_this_rank_does_not_own) {
  test::Shard shard;
  shard.add({"v", Role::parameter, {10, 3}}, {}, 1, false);
  EXPECT_TRUE(split_among_replicas(shard.pieces(), 0, 1).empty());
}

TEST(Replicas, outside_their_number_are_refused) {
  for (auto const& [r, n] : {std::pair{-1, 2}, {2, 2}, {0, 0}})
    EXPECT_EQ(test::error_of([&] { split_among_replicas({}, r, n); }).code, "checkpoint.save.replicas");
}

}  // namespace
}  // namespace lamina::checkpoint
