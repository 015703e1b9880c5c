#include "lamina/io/array_file.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "lamina/base/fault.hpp"
#include "lamina/base/text.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::io {
namespace {

std::vector<Array> arrays() {
  return {{.path = "/parameters/embed.tokens.weight", .spec = {DType::f32, {3, 50}}},
          {.path = "/parameters/blocks.0.mlp.fc.bias", .spec = {DType::bf16, {7}}},
          {.path = "/parameters/scale", .spec = {DType::f64, Shape{}}},
          {.path = "/parameters/nothing", .spec = {DType::i64, {0, 4}}},
          {.path = "/moments1/large", .spec = {DType::f32, {33, 1000}}},
          {.path = "/moments1/plain", .spec = {DType::u16, {5}}}};
}

class ArrayFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (hdf5_version() == "none") GTEST_SKIP() << "built without HDF5";
    made = create_array_file(path, arrays());
  }
  ~ArrayFiles() override { fault::configure(""); }
  test::TemporaryDirectory directory;
  std::string path = directory / "a.h5";
  ArrayFile made;
};

TEST_F(ArrayFiles, are_described_by_hdf5_as_they_were_asked_for) {
  auto const seen = describe_array_file(path);
  ASSERT_EQ(seen.size(), made.arrays.size());
  for (auto const& a : made.arrays) {
    auto const it = std::find_if(seen.begin(), seen.end(), [&](auto const& s) { return s.path == a.path; });
    ASSERT_NE(it, seen.end()) << a.path;
    EXPECT_EQ(it->spec, a.spec) << a.path;
    EXPECT_EQ(it->offset, a.offset) << a.path;
  }
}

TEST_F(ArrayFiles, have_their_whole_size_at_once_and_arrays_that_do_not_overlap) {
  EXPECT_EQ(File::open(path, Mode::read).bytes(), made.bytes);
  for (auto const& a : made.arrays) {
    EXPECT_LE(a.offset + a.spec.bytes(), made.bytes);
    EXPECT_TRUE(a.spec.bytes() < 64 << 10 || a.offset % 4096 == 0) << a.path;
    for (auto const& b : made.arrays)
      EXPECT_TRUE(&a == &b || a.offset + a.spec.bytes() <= b.offset || b.offset + b.spec.bytes() <= a.offset);
  }
}

TEST_F(ArrayFiles, are_byte_for_byte_the_same_when_made_again) {
  auto const again = create_array_file(directory / "b.h5", arrays());
  EXPECT_EQ(test::read_file(path), test::read_file(directory / "b.h5"));
  EXPECT_EQ(again.metadata, made.metadata);
}

TEST_F(ArrayFiles, give_back_what_was_written_by_parts_with_the_checksum_of_the_whole) {
  auto const& large = made.arrays[4];
  std::vector<float> values(33'000), back(33'000);
  std::iota(values.begin(), values.end(), 1.0f);
  auto const file = File::open(path, Mode::update);
  PartialChecksum written(large.spec);
  for (std::int64_t begin : {0, 11, 22}) {
    std::vector<Box> const rows{{{begin, 0}, {11, 1000}}};
    write_boxes(file, large, rows, {values.data() + begin * 1000, {DType::f32, {11, 1000}}}, written);
  }
  EXPECT_EQ(written.sum(), checksum({values.data(), large.spec}));
  PartialChecksum read(large.spec);
  read_boxes(file, large, {}, {back.data(), large.spec}, read);
  EXPECT_EQ(back, values);
  EXPECT_EQ(read.sum(), written.sum());
  EXPECT_EQ(metadata_checksum(file, made.arrays), made.metadata) << "data are no metadata";
}

TEST_F(ArrayFiles, refuse_memory_that_does_not_fit_the_boxes) {
  auto const file = File::open(path, Mode::update);
  float x[7];
  for (auto const& memory :
       {TensorRef{x, {DType::f32, {7}}}, TensorRef{x, {DType::bf16, {6}}}, TensorRef{nullptr, {DType::bf16, {7}}}}) {
    PartialChecksum sum(made.arrays[1].spec);
    EXPECT_EQ(test::error_of([&] { write_boxes(file, made.arrays[1], {}, memory, sum); }).code, "io.box.memory");
  }
}

TEST_F(ArrayFiles, are_read_by_h5dump_with_the_values_that_were_written) {
  if (std::system("command -v h5dump >/dev/null") != 0) GTEST_SKIP() << "h5dump is not installed";
  std::uint16_t values[5] = {3, 1, 4, 1, 59};
  auto const& plain = made.arrays[5];
  PartialChecksum sum(plain.spec);
  write_boxes(File::open(path, Mode::update), plain, {}, {values, plain.spec}, sum);
  auto const command =
      text("h5dump -d /moments1/plain -a /parameters/blocks.0.mlp.fc.bias/dtype ", path, " > ", directory / "out");
  ASSERT_EQ(std::system(command.c_str()), 0);
  auto const dump = test::read_file(directory / "out");
  EXPECT_NE(dump.find("3, 1, 4, 1, 59"), std::string::npos) << dump;
  EXPECT_NE(dump.find("\"bf16\""), std::string::npos) << dump;
}

TEST_F(ArrayFiles, that_exist_or_cannot_have_their_space_are_refused) {
  EXPECT_EQ(test::error_of([&] { create_array_file(path, arrays()); }).code, "vendor.hdf5.call");
  fault::configure("t.preallocate:ENOSPC:*:1");
  EXPECT_EQ(test::error_of([&] { create_array_file(directory / "b.h5", arrays(), "t"); }).code, "io.file.no_space");
  EXPECT_EQ(test::error_of([&] {
              create_array_file(directory / "c.h5", {{.path = "/a/b/c", .spec = {DType::f32, {1}}}});
            }).code,
            "vendor.hdf5.layout");
}

TEST_F(ArrayFiles, that_are_no_hdf5_files_are_refused) {
  test::write_file(directory / "x.h5", "not HDF5");
  EXPECT_EQ(test::error_of([&] { describe_array_file(directory / "x.h5"); }).code, "vendor.hdf5.call");
}

}  // namespace
}  // namespace lamina::io
