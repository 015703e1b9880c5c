#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "lamina/base/philox.hpp"
#include "unit/config/config_test.hpp"

// Row 14 of the fault list: whatever a run file contains, there is one clear message and no crash.
namespace lamina {
namespace {

using namespace test;
namespace fs = std::filesystem;

TEST(BadFile, syntax_errors_name_line_and_column) {
  EXPECT_THAT(problems("[run]\ndir = \n"), AllOf(HasSubstr("config.file.syntax"), HasSubstr("run.toml:2:")));
  EXPECT_THAT(problems("[run\n"), HasSubstr("run.toml:1:"));
  EXPECT_THAT(problems("dir = \"open\n"), HasSubstr("config.file.syntax"));
  EXPECT_THAT(problems("[run]\nseed = 1\nseed = 2\n"), HasSubstr("run.toml:3:"));
  EXPECT_THAT(problems("[run]\nseed = 99999999999999999999\n"), HasSubstr("run.toml:2:"));
  EXPECT_THAT(problems("[[run]]\nseed = 1\n"), HasSubstr("run is a section"));
  EXPECT_THAT(problems("run = 3\n"), HasSubstr("write [run]"));
}

TEST(BadFile, bytes_that_are_not_text_are_refused) {
  EXPECT_THAT(problems("[run]\ndir = \"\xff\xfe\"\n"), HasSubstr("config.file.syntax"));
  EXPECT_THAT(problems(std::string("[run]\0dir", 9)), HasSubstr("config.file.syntax"));
  EXPECT_THAT(problems("\x7f"
                       "ELF\x02\x01\x01"),
              HasSubstr("config.file.syntax"));
  std::string noise;
  for (std::uint32_t i = 0; i < 4096; ++i) noise += static_cast<char>(i * 2654435761u >> 24);
  EXPECT_THAT(problems(noise), HasSubstr("config.file.syntax"));
}

TEST(BadFile, a_mark_at_the_start_and_windows_lines_are_fine) {
  auto windows = "\xef\xbb\xbf" + minimal();
  for (std::size_t at = 0; (at = windows.find('\n', at)) != windows.npos; at += 2) windows.insert(at, 1, '\r');
  EXPECT_EQ(problems(windows), "");
}

TEST(BadFile, ten_megabytes_are_refused_unread) {
  EXPECT_THAT(problems(std::string(10 << 20, '#')), HasSubstr("config.file.size"));
}

TEST(BadFile, deep_nesting_is_refused_before_it_fills_the_stack) {
  std::string const deep(200'000, '[');
  EXPECT_THAT(problems("[run]\nseed = " + deep), HasSubstr("config.file.syntax"));
  EXPECT_THAT(problems("a = " + std::string(100, '[') + std::string(100, ']')), HasSubstr("unknown key a"));
  std::string dots = "a";
  for (int i = 0; i < 100'000; ++i) dots += ".a";
  EXPECT_THAT(problems("[" + dots + "]\n"), AllOf(HasSubstr("config.file.nesting"), HasSubstr("run.toml:1:")));
  EXPECT_THAT(problems("\n" + dots + " = 1\n"), AllOf(HasSubstr("config.file.nesting"), HasSubstr("run.toml:2:")));
  EXPECT_THAT(problems("x = { " + dots + " = 1 }\n"), HasSubstr("config.file.nesting"));
  EXPECT_THAT(problems(minimal(), {dots + "=1"}), HasSubstr("config.file.nesting"));
  std::string spaced = "a";
  for (int i = 0; i < 1000; ++i) spaced += " . \"a.b\"";
  EXPECT_THAT(problems("[" + spaced + "]\n"), HasSubstr("config.file.nesting"));
}

TEST(BadFile, dots_inside_texts_and_comments_do_not_count) {
  std::string const dots(500, '.');
  EXPECT_EQ(problems(minimal("# " + dots + "\n[checkpoint] # " + dots + "\nkeep = 3\n", "init = \"" + dots + "\"\n")),
            "");
  EXPECT_EQ(problems(minimal("", "init = '" + dots + "'\n")), "");
  EXPECT_EQ(problems(minimal("", "init = \"\"\"" + dots + "\n\"" + dots + "\"\"\"\n")), "");
  EXPECT_EQ(problems(minimal("", "init = \"\\\"" + dots + "\"\n")), "");
}

TEST(BadFile, a_long_value_is_quoted_short) {
  EXPECT_LT(problem_of("model", "norm = \"" + std::string(100'000, 'x') + "\"").size(), 1000u);
  EXPECT_LT(problem_of("model", "norm = [" + std::string(100'000, ' ') + "1, 2, 3, 4, 5, 6, 7, 8, 9, 10]").size(),
            1000u);
}

TEST(BadFile, many_problems_are_all_told) {
  std::string lines = "[run]\ndir = \"x\"\n";
  for (int i = 0; i < 300; ++i) lines += text("key", i, " = 1\n");
  EXPECT_THAT(problems(lines), HasSubstr("303 problems"));
}

// Bytes of a good file changed, dropped, doubled and swapped: it is refused with exit code 2, or it reads back.
TEST(BadFile, damaged_files_are_refused_or_read_back) {
  auto const whole = config::print(config::parse(minimal(), "run.toml"));
  std::string const symbols = "[]{}=.,#\"'\\\n -+_eE09azxtrue\x80\xc3";
  int refused = 0, accepted = 0;
  for (std::uint32_t i = 0; i < 3000; ++i) {
    auto file = whole;
    for (std::uint32_t change = 0; change <= i % 4; ++change) {
      auto const w = Philox::words(14, {i, change, 0, 0});
      auto const at = w[0] % file.size();
      switch (w[1] % 4) {
        case 0:
          file[at] = symbols[w[2] % symbols.size()];
          break;
        case 1:
          file.erase(at, 1 + w[2] % 20);
          break;
        case 2:
          file.insert(at, file.substr(w[2] % file.size(), 1 + w[3] % 20));
          break;
        default:
          std::swap(file[at], file[w[2] % file.size()]);
          break;
      }
    }
    try {
      auto const c = config::parse(file, "run.toml");
      ++accepted;
      EXPECT_EQ(config::parse(config::print(c), "printed"), c) << file;
    } catch (Error const& e) {
      ++refused;
      EXPECT_EQ(e.exit_code(), ExitCode::usage) << e.what();
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(accepted, 10);
}

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::path(::testing::TempDir()) / text("lamina_config_", ::getpid());
    fs::create_directories(path_);
    std::ofstream(path_ / "run.toml") << minimal();
  }
  void TearDown() override { fs::remove_all(path_); }
  std::string problem(std::string const& name) const {
    try {
      config::load((path_ / name).string());
    } catch (Error const& e) {
      EXPECT_EQ(e.exit_code(), ExitCode::usage);
      return e.what();
    }
    return "";
  }
  fs::path path_;
};

TEST_F(Folder, a_readable_file_loads) { EXPECT_EQ(problem("run.toml"), ""); }

TEST_F(Folder, a_missing_file_suggests_its_neighbour) {
  EXPECT_THAT(problem("rum.toml"), AllOf(HasSubstr("config.file.missing"), HasSubstr("run.toml?")));
  EXPECT_THAT(problem("nowhere/run.toml"), HasSubstr("config.file.missing"));
}

TEST_F(Folder, a_directory_is_not_a_run_file) {
  EXPECT_THAT(problem(""), AllOf(HasSubstr("config.file.kind"), HasSubstr("a directory")));
}

TEST_F(Folder, an_empty_file_lacks_what_is_required) {
  std::ofstream(path_ / "empty.toml") << "";
  EXPECT_THAT(problem("empty.toml"), HasSubstr("run.dir is required"));
}

TEST_F(Folder, a_huge_file_is_not_read_into_memory) {
  std::ofstream(path_ / "huge.toml") << "x";
  fs::resize_file(path_ / "huge.toml", std::uintmax_t{1} << 40);  // sparse
  EXPECT_THAT(problem("huge.toml"), HasSubstr("config.file.size"));
}

TEST_F(Folder, a_file_that_may_not_be_read_says_so) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  fs::permissions(path_ / "run.toml", fs::perms::none);
  EXPECT_THAT(problem("run.toml"), HasSubstr("config.file.read"));
}

}  // namespace
}  // namespace lamina
