#include "lamina/data/paths.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "data/detail/file.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::data {
namespace {

using Names = std::vector<std::string>;

/// A working directory, which is also the home directory, whose name is full of what patterns are made of.
class Paths : public ::testing::Test {
 protected:
  Paths() {
    std::filesystem::create_directories(odd_ + "/data");
    std::filesystem::create_directory(dir_ / "a 1x");  // what the name matches when it is taken as a pattern
    test::write_file(dir_ / "a 1x/t_9.bin", "");
    for (auto const* name : {"t_1.bin", "t_2.bin", "u.bin", "data/t_3.bin"}) test::write_file(odd_ + "/" + name, "");
    std::filesystem::current_path(odd_);
    ::setenv("HOME", odd_.c_str(), 1);
  }
  ~Paths() override { std::filesystem::current_path(before_); }

  std::filesystem::path const before_ = std::filesystem::current_path();
  test::TemporaryDirectory dir_;
  std::string const odd_ = dir_ / R"(a [1]*?{b,c}\~)";
};

TEST_F(Paths, of_a_working_directory_with_special_characters_are_no_part_of_the_pattern) {
  EXPECT_EQ(detail::expand({absolute_pattern("t_*.bin")}), (Names{odd_ + "/t_1.bin", odd_ + "/t_2.bin"}));
  EXPECT_EQ(detail::expand({absolute_pattern("{u,t_[1]}.bin")}), (Names{odd_ + "/u.bin", odd_ + "/t_1.bin"}));
  EXPECT_EQ(detail::expand({absolute_pattern("data/../dat?/*")}), Names{odd_ + "/data/t_3.bin"});
  EXPECT_EQ(detail::expand({"t_?.bin"}), (Names{"t_1.bin", "t_2.bin"}));
  EXPECT_EQ(detail::expand({dir_ / "a 1?/*"}), Names{dir_ / "a 1x/t_9.bin"});
}

TEST_F(Paths, made_absolute_stay_as_they_are) {
  for (auto const* given : {"t_*.bin", "u.bin", "~/t_*.bin", "missing", "/x/[ab]*"}) {
    auto const once = absolute_pattern(given);
    EXPECT_EQ(absolute_pattern(once), once);
  }
  EXPECT_EQ(absolute_pattern("u.bin"), odd_ + "/u.bin");
}

TEST_F(Paths, that_begin_with_a_tilde_are_in_a_home_directory) {
  std::filesystem::current_path("data");
  EXPECT_EQ(absolute_path("~/x/../y"), odd_ + "/y");
  EXPECT_EQ(absolute_path("~"), odd_);
  EXPECT_EQ(absolute_pattern("~/u.bin"), odd_ + "/u.bin");
  EXPECT_EQ(detail::expand({absolute_pattern("~/t_*.bin")}), (Names{odd_ + "/t_1.bin", odd_ + "/t_2.bin"}));
  EXPECT_EQ(detail::expand({"~/t_*.bin"}), (Names{odd_ + "/t_1.bin", odd_ + "/t_2.bin"}));
  EXPECT_EQ(without_tilde("~root"), "/root");
  EXPECT_EQ(without_tilde("~nobody-has-this-name/x"), "~nobody-has-this-name/x");
  test::write_file("~backup", "");
  EXPECT_EQ(without_tilde("~backup"), "~backup");  // such a file is here
  EXPECT_EQ(without_tilde("a~/b"), "a~/b");
}

TEST_F(Paths, without_a_match_are_told_without_escapes) {
  auto const error = test::error_of([&] { detail::expand({absolute_pattern("t_1.bim")}); });
  EXPECT_EQ(error.code, "data.files.none");
  EXPECT_NE(error.found.find(odd_), std::string::npos) << error.found;
  EXPECT_NE(error.fix.find(odd_ + "/t_1.bin"), std::string::npos) << error.fix;
}

}  // namespace
}  // namespace lamina::data
