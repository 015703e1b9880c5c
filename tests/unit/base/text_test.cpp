#include "lamina/base/text.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

namespace lamina {
namespace {

TEST(Text, concatenates_and_joins) {
  EXPECT_EQ(text("rank ", 3, " of ", 4), "rank 3 of 4");
  EXPECT_EQ(join(std::vector<int>{1, 2, 5}), "1, 2, 5");
  EXPECT_EQ(join(std::vector<int>{7}, " | "), "7");
  EXPECT_EQ(join(std::vector<int>{}), "");
}

TEST(Text, splits_at_every_separator) {
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(split("a.b..c", '.'), (Pieces{"a", "b", "", "c"}));
  EXPECT_EQ(split("", '.'), Pieces{""});
  EXPECT_EQ(split(".", '.'), (Pieces{"", ""}));
}

TEST(Text, trims_both_ends_only) {
  EXPECT_EQ(trim(" \t a b \r\n"), "a b");
  EXPECT_EQ(trim("   "), "");
  EXPECT_EQ(trim(""), "");
}

TEST(Text, edit_distance_counts_a_swap_as_one) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("steps", "setps"), 1u);
  EXPECT_EQ(edit_distance("lr", "lr"), 0u);
}

TEST(Text, closest_suggests_a_near_word_and_nothing_else) {
  std::vector<std::string> const words{"layers", "hidden", "heads", "context"};
  EXPECT_EQ(closest("layer", words), "layers");
  EXPECT_EQ(closest("haeds", words), "heads");
  EXPECT_EQ(closest("heads", words), "heads");
  EXPECT_EQ(closest("optimizer", words), "");
  EXPECT_EQ(closest("", words), "");
  EXPECT_EQ(closest("anything", {}), "");
  EXPECT_EQ(closest("ab", {"ax", "ay"}), "ax") << "the first of equals";
}

TEST(Text, exact_reads_back_to_the_same_double) {
  for (double x : {0.0, 1.0, 0.1, 1.0 / 3, 6e-4, 1e-8, 1e300, 5e-324, -2.5, 123456789.0}) {
    auto const s = exact(x);
    EXPECT_EQ(std::strtod(s.c_str(), nullptr), x) << s;
    EXPECT_NE(s.find_first_of(".e"), s.npos) << s << " would read as an integer";
  }
  EXPECT_EQ(exact(1), "1.0");
  EXPECT_EQ(exact(0.1), "0.1");
  EXPECT_EQ(exact(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(exact(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(exact(std::nan("")), "nan");
}

}  // namespace
}  // namespace lamina
