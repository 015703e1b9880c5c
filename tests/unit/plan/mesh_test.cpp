#include "plan/detail/mesh.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/detail/table.hpp"
#include "support/errors.hpp"

namespace lamina::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Mesh, numbers_ranks_with_the_last_axis_fastest) {
  Mesh const mesh{{"pp", "dp", "tp"}, {2, 3, 4}};
  EXPECT_EQ(mesh.world(), 24);
  EXPECT_THAT(mesh.coordinates(0), ElementsAre(0, 0, 0));
  EXPECT_THAT(mesh.coordinates(17), ElementsAre(1, 1, 1));  // (1 * 3 + 1) * 4 + 1
  EXPECT_THAT(mesh.coordinates(23), ElementsAre(1, 2, 3));
}

TEST(Mesh, lists_the_ranks_that_differ_along_one_axis_only) {
  Mesh const mesh{{"pp", "dp", "tp"}, {2, 3, 4}};
  EXPECT_THAT(mesh.members("dp", 17), ElementsAre(13, 17, 21));
  EXPECT_THAT(mesh.members("tp", 17), ElementsAre(16, 17, 18, 19));
  EXPECT_THAT(mesh.members("pp", 17), ElementsAre(5, 17));
  EXPECT_THAT(mesh.members("none", 17), ElementsAre(17));
  for (int r = 0; r < mesh.world(); ++r) {
    for (auto const& axis : mesh.axes) {
      auto const members = mesh.members(axis, r);
      EXPECT_THAT(members, ::testing::Contains(r));
      for (int const m : members) EXPECT_EQ(mesh.members(axis, m), members);
    }
  }
}

TEST(Mesh, fills_an_automatic_data_parallel_axis) {
  config::Mesh given;
  EXPECT_EQ(make_mesh(given, 7).size("dp"), 7);
  given.dp = 7;
  given.order = {"dp", "tp", "pp"};
  EXPECT_THAT(make_mesh(given, 7).axes, ElementsAre("dp", "tp", "pp"));
  EXPECT_EQ(make_mesh(given, 7).size("tp"), 1);
  EXPECT_EQ(make_mesh(given, 7).size("none"), 1);
}

TEST(Mesh, refuses_what_does_not_fit_and_says_what_would) {
  config::Mesh given;
  given.dp = 3;
  auto const product = test::error_of([&] { make_mesh(given, 8); });
  EXPECT_EQ(product.code, "plan.mesh.product");
  EXPECT_THAT(product.fix, HasSubstr("start 3 ranks"));
  EXPECT_THAT(product.fix, HasSubstr("1, 2, 4, 8"));
  given.dp = 0, given.order = {"dp", "tp"};
  EXPECT_EQ(test::error_of([&] { make_mesh(given, 8); }).code, "plan.mesh.order");
  EXPECT_EQ(test::error_of([&] { make_mesh({}, 0); }).code, "plan.mesh.world");
  EXPECT_EQ(test::error_of([&] { make_mesh({}, 4097); }).code, "plan.mesh.world");
}

TEST(Ranges, are_short) {
  EXPECT_EQ(ranges({}), "");
  EXPECT_EQ(ranges({5}), "5");
  EXPECT_EQ(ranges({0, 1, 2, 3}), "0-3");
  EXPECT_EQ(ranges({0, 2, 3, 9}), "0 2-3 9");
}

}  // namespace
}  // namespace lamina::plan
