#include "lamina/io/layout.hpp"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "support/errors.hpp"

namespace lamina::io {
namespace {

using Runs = std::vector<Run>;

/// Global index of every element of the boxes in memory order, one by one.
std::vector<std::int64_t> indices_of(Shape const& global, std::vector<Box> const& boxes) {
  std::vector<std::int64_t> result;
  for (auto const& box : boxes) {
    for (std::int64_t n = 0; n < box.extent.count(); ++n) {
      std::int64_t rest = n, index = 0, stride = 1;
      for (int d = global.ndim() - 1; d >= 0; --d) {
        index += (box.offset[d] + rest % box.extent[d]) * stride;
        rest /= box.extent[d];
        stride *= global[d];
      }
      result.push_back(index);
    }
  }
  return result;
}

TEST(Layout, runs_name_the_elements_of_every_box_of_a_small_tensor_in_memory_order) {
  Shape const global{3, 2, 4};
  for (std::int64_t a = 0; a <= 3; ++a)
    for (std::int64_t b = 0; b <= 2; ++b)
      for (std::int64_t c = 0; c <= 4; ++c)
        for (std::int64_t x = 0; x <= 3 - a; ++x)
          for (std::int64_t y = 0; y <= 2 - b; ++y)
            for (std::int64_t z = 0; z <= 4 - c; ++z) {
              std::vector<Box> const boxes{{.offset = {a, b, c}, .extent = {x, y, z}}};
              std::vector<std::int64_t> found;
              for (auto const& run : runs_of("t", global, boxes)) {
                EXPECT_EQ(run.local, static_cast<std::int64_t>(found.size()));
                EXPECT_GT(run.count, 0);
                for (std::int64_t i = 0; i < run.count; ++i) found.push_back(run.global + i);
              }
              ASSERT_EQ(found, indices_of(global, boxes));
              EXPECT_EQ(count_of(global, boxes), static_cast<std::int64_t>(found.size()));
            }
}

TEST(Layout, whole_rows_are_one_run_and_columns_one_run_per_row) {
  EXPECT_EQ(runs_of("t", {5, 7}, {}), (Runs{{0, 0, 35}}));
  EXPECT_EQ(runs_of("t", {5, 7}, std::vector<Box>{{{1, 0}, {3, 7}}}), (Runs{{7, 0, 21}}));
  EXPECT_EQ(runs_of("t", {2, 7}, std::vector<Box>{{{0, 2}, {2, 3}}}), (Runs{{2, 0, 3}, {9, 3, 3}}));
}

TEST(Layout, adjacent_boxes_that_follow_each_other_in_memory_become_one_run) {
  EXPECT_EQ(runs_of("t", {4, 2}, std::vector<Box>{{{0, 0}, {1, 2}}, {{1, 0}, {2, 2}}}), (Runs{{0, 0, 6}}));
}

TEST(Layout, a_scalar_is_one_run_and_an_empty_tensor_none) {
  EXPECT_EQ(runs_of("t", Shape{}, {}), (Runs{{0, 0, 1}}));
  EXPECT_EQ(runs_of("t", Shape{}, std::vector<Box>{{Shape{}, Shape{}}}), (Runs{{0, 0, 1}}));
  EXPECT_TRUE(runs_of("t", {0, 4}, {}).empty());
}

TEST(Layout, a_box_that_leaves_the_tensor_is_refused) {
  Box before{{0, 0}, {2, 4}}, shrunk{{0, 0}, {2, 4}};
  before.offset[0] = -1;
  shrunk.extent[1] = -1;
  for (auto const& box : {before, shrunk, Box{{2, 0}, {2, 4}}, Box{{0}, {3}}, Box{{INT64_MAX, 0}, {1, 1}}})
    EXPECT_EQ(test::error_of([&] { runs_of("t", {3, 4}, std::vector<Box>{box}); }).code, "io.box.outside");
}

TEST(Layout, boxes_overlap_only_when_they_share_an_element) {
  EXPECT_TRUE(overlap({{0, 0}, {2, 2}}, {{1, 1}, {2, 2}}));
  EXPECT_FALSE(overlap({{0, 0}, {2, 2}}, {{2, 0}, {2, 2}}));
  EXPECT_FALSE(overlap({{0, 0}, {2, 2}}, {{1, 1}, {0, 2}}));
  EXPECT_TRUE(overlap({Shape{}, Shape{}}, {Shape{}, Shape{}}));
}

}  // namespace
}  // namespace lamina::io
