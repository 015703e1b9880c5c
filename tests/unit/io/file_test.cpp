#include "lamina/io/file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "lamina/base/fault.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::io {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  ~Files() override { fault::configure(""); }
  test::TemporaryDirectory directory;
};

TEST_F(Files, read_what_was_written_at_the_same_place) {
  auto const path = directory / "a";
  auto const file = File::open(path, Mode::create);
  file.write("world", 5, 6);
  file.write("hello ", 6, 0);
  file.sync();
  EXPECT_EQ(file.bytes(), 11);
  EXPECT_EQ(read_text(path, 11), "hello world");
}

TEST_F(Files, a_short_file_is_an_error_that_names_the_byte_where_it_ends) {
  test::write_file(directory / "a", "1234");
  char buffer[8];
  auto const file = File::open(directory / "a", Mode::read);
  auto const e = test::error_of([&] { file.read(buffer, 8, 2); });
  EXPECT_EQ(e.code, "io.file.short");
  EXPECT_NE(e.found.find("byte 4"), std::string::npos);
}

TEST_F(Files, opening_fails_with_its_reason) {
  EXPECT_EQ(test::error_of([&] { File::open(directory / "none", Mode::read); }).code, "io.file.open");
  test::write_file(directory / "a", "");
  EXPECT_EQ(test::error_of([&] { File::open(directory / "a", Mode::create); }).code, "io.file.create");
  fs::create_symlink(directory / "a", directory / "link");
  EXPECT_EQ(test::error_of([&] { File::open(directory / "link", Mode::read); }).code, "io.file.open");
  EXPECT_EQ(test::error_of([&] { File::open(directory.path(), Mode::read).bytes(); }).code, "io.file.kind");
  EXPECT_EQ(test::error_of([&] { read_text(directory / "a" + "/b", 1); }).code, "io.file.open");
}

TEST_F(Files, a_text_beyond_its_limit_is_refused_unread) {
  test::write_file(directory / "a", "12345");
  EXPECT_EQ(test::error_of([&] { read_text(directory / "a", 4); }).code, "io.file.too_long");
}

TEST_F(Files, an_atomic_write_replaces_and_leaves_nothing_else) {
  write_text_atomically(directory / "a", "old");
  write_text_atomically(directory / "a", "new");
  EXPECT_EQ(test::read_file(directory / "a"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator{}), 1);
}

TEST_F(Files, an_atomic_write_that_fails_anywhere_keeps_the_old_text_and_removes_its_temporary) {
  write_text_atomically(directory / "a", "old");
  for (char const* point : {"create", "write", "fsync", "rename"}) {
    for (char const* action : {"ENOSPC", "EIO"}) {
      fault::configure(std::string("t.") + point + ":" + action + ":*:1");
      auto const e = test::error_of([&] { write_text_atomically(directory / "a", "new", "t"); });
      EXPECT_TRUE(e.code.starts_with("io.file.")) << e.code;
      EXPECT_EQ(test::read_file(directory / "a"), "old") << point;
      EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator{}), 1) << point;
    }
  }
}

TEST_F(Files, a_full_disk_is_reported_with_bytes_needed_and_free) {
  fault::configure("t.write:ENOSPC:*:1,t.preallocate:ENOSPC:*:1");
  auto const file = File::open(directory / "a", Mode::create, "t");
  for (auto const& e :
       {test::error_of([&] { file.write("12345", 5, 0); }), test::error_of([&] { file.preallocate(5); })}) {
    EXPECT_EQ(e.code, "io.file.no_space");
    EXPECT_NE(e.found.find("needs 5 bytes"), std::string::npos) << e.found;
    EXPECT_NE(e.found.find("bytes free"), std::string::npos) << e.found;
  }
}

TEST_F(Files, a_really_full_device_is_no_space) {
  auto const file = File::open("/dev/full", Mode::update);
  EXPECT_EQ(test::error_of([&] { file.write("1", 1, 0); }).code, "io.file.no_space");
}

TEST_F(Files, a_short_write_is_completed_and_a_bit_flip_damages_one_bit) {
  fault::configure("t.write:short-write:*:1,t.write:bitflip:*:2");
  auto const file = File::open(directory / "a", Mode::create, "t");
  file.write("123456789", 9, 0);
  EXPECT_EQ(test::read_file(directory / "a"), "123456789");
  file.write("123456789", 9, 0);
  EXPECT_EQ(test::read_file(directory / "a"), std::string("1234") + char('5' ^ 0x10) + "6789");
}

TEST_F(Files, space_is_reserved_and_the_file_has_its_length) {
  auto const file = File::open(directory / "a", Mode::create);
  file.preallocate(100'000);
  EXPECT_EQ(file.bytes(), 100'000);
  file.preallocate(10);
  EXPECT_EQ(file.bytes(), 100'000);
}

TEST_F(Files, two_directories_are_exchanged) {
  make_directories(directory / "a/x");
  make_directories(directory / "b/y");
  exchange(directory / "a", directory / "b");
  EXPECT_TRUE(fs::exists(directory / "a/y"));
  EXPECT_TRUE(fs::exists(directory / "b/x"));
}

TEST_F(Files, removing_what_is_not_there_is_no_error) {
  remove_tree(directory / "none");
  make_directories(directory / "a/b/c");
  remove_tree(directory / "a");
  EXPECT_FALSE(fs::exists(directory / "a"));
}

}  // namespace
}  // namespace lamina::io
