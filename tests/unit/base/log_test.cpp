#include "lamina/base/log.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace lamina {
namespace {

struct Captured {  // what a logger wrote, by a clock that the test turns
  std::vector<std::string> writes;
  double now = 100;
  log::Logger logger;

  explicit Captured(bool terminal = false, bool colour = false, int columns = 80)
      : logger({.write = [this](std::string_view s) { writes.emplace_back(s); },
                .seconds = [this] { return now; },
                .terminal = terminal,
                .colour = colour,
                .columns = columns}) {}
  std::string all() const { return join(writes, ""); }
};

TEST(Log, one_message_is_one_write_of_one_plain_line) {
  Captured c;
  c.logger.message(log::Level::info, "hello");
  c.logger.message(log::Level::warn, "careful");
  EXPECT_EQ(c.writes, (std::vector<std::string>{"hello\n", "warning: careful\n"}));
}

TEST(Log, info_comes_from_rank_zero_and_warnings_from_all) {
  Captured c;
  c.logger.set_rank(3, 4);
  c.logger.message(log::Level::info, "from rank 3");
  c.logger.message(log::Level::warn, "careful");
  c.logger.message(log::Level::error, "broken");
  c.logger.progress("step 1", true);
  EXPECT_EQ(c.all(), "[rank 3] warning: careful\n[rank 3] broken\n");
}

TEST(Log, the_level_filters) {
  Captured c;
  c.logger.message(log::Level::debug, "detail");
  c.logger.set_level(log::Level::debug);
  c.logger.message(log::Level::debug, "shown");
  c.logger.set_level(log::Level::warn);
  c.logger.message(log::Level::info, "dropped");
  c.logger.progress("dropped", true);
  EXPECT_EQ(c.all(), "shown\n");
}

TEST(Log, colours_only_where_asked) {
  Captured plain(true, false), coloured(true, true);
  plain.logger.message(log::Level::warn, "w");
  coloured.logger.message(log::Level::warn, "w");
  EXPECT_EQ(plain.all().find('\x1b'), std::string::npos);
  EXPECT_NE(coloured.all().find("\x1b[33m"), std::string::npos);
}

TEST(Log, progress_away_from_a_terminal_is_plain_and_throttled) {
  Captured c;
  for (int i = 0; i < 1000; ++i, c.now += 0.05) c.logger.progress(text("step ", i));  // 50 seconds
  c.logger.progress("done", true);
  EXPECT_EQ(c.writes.size(), 6u);
  EXPECT_EQ(c.writes.front(), "step 0\n");
  EXPECT_EQ(c.writes.back(), "done\n");
  EXPECT_EQ(c.all().find('\r'), std::string::npos);
}

TEST(Log, progress_on_a_terminal_redraws_one_line_ten_times_a_second) {
  Captured c(true);
  for (int i = 0; i < 64; ++i, c.now += 0.015625) c.logger.progress("step");  // one second
  EXPECT_LE(c.writes.size(), 10u);
  EXPECT_GE(c.writes.size(), 8u);
  EXPECT_EQ(c.all().find('\n'), std::string::npos);
}

TEST(Log, a_shorter_progress_line_leaves_nothing_of_the_longer_one) {
  Captured c(true);
  c.logger.progress("step 10");
  c.now += 1;
  c.logger.progress("done", true);
  EXPECT_EQ(c.all(), "\rstep 10\rdone   \n");
}

TEST(Log, a_message_goes_above_the_progress_line) {
  Captured c(true);
  c.logger.progress("step 1");
  c.logger.message(log::Level::info, "saved");
  EXPECT_EQ(c.all(), "\rstep 1\r      \rsaved\n\rstep 1");
}

TEST(Log, progress_fits_the_terminal_and_keeps_characters_whole) {
  Captured c(true, false, 6);
  c.logger.progress(
      "\xc3\xa4\xc3\xb6\xc3\xbc"
      "abcdef");
  EXPECT_EQ(c.all(),
            "\r\xc3\xa4\xc3\xb6\xc3\xbc"
            "ab");
}

TEST(Log, control_characters_do_not_reach_the_terminal) {
  Captured c(true);
  c.logger.message(log::Level::info, "file \x1b[2J\rname\nsecond line");
  EXPECT_EQ(c.all(), "file ?[2J?name\nsecond line\n");
}

TEST(Log, a_file_is_not_a_terminal_and_no_color_wins) {
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(log::standard_error().colour);
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(log::standard_error().terminal);
}

}  // namespace
}  // namespace lamina
