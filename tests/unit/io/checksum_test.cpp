#include "lamina/io/checksum.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "lamina/io/file.hpp"
#include "support/temporary.hpp"

namespace lamina::io {
namespace {

std::vector<float> ramp(std::int64_t count) {
  std::vector<float> v(static_cast<std::size_t>(count));
  std::iota(v.begin(), v.end(), 0.5f);
  return v;
}

/// Adds a box of a whole tensor as a rank would that has only the box.
void add_box(PartialChecksum& sum, Shape const& shape, Box const& box, std::vector<float> const& whole) {
  for (auto const& run : runs_of("t", shape, std::vector<Box>{box})) sum.add(run, whole.data() + run.global);
}

TEST(Checksum, is_the_sum_of_xxh3_of_number_and_bytes_of_each_cell) {
  Shape const shape{2, 100};  // cells of 64 and 36 elements
  auto v = ramp(200);
  Hash128 expected;
  std::int64_t number = 0;
  for (std::int64_t row = 0; row < 2; ++row) {
    for (auto const& [begin, count] : {std::pair<std::int64_t, std::int64_t>{0, 64}, {64, 36}}) {
      std::string cell(8, '\0');
      std::memcpy(cell.data(), &number, 8);
      cell.append(reinterpret_cast<char const*>(v.data() + row * 100 + begin), static_cast<std::size_t>(4 * count));
      expected += hash128(cell);
      ++number;
    }
  }
  EXPECT_EQ(checksum({v.data(), {DType::f32, shape}}), expected);
}

TEST(Checksum, does_not_depend_on_the_layout_when_cuts_fall_on_cells) {
  Shape const shape{6, 3, 200};
  auto v = ramp(shape.count());
  auto const whole = checksum({v.data(), {DType::f32, shape}});
  std::vector<std::vector<Box>> const layouts{
      {{{0, 0, 0}, {2, 3, 200}}, {{2, 0, 0}, {4, 3, 200}}},                             // rows
      {{{0, 0, 0}, {6, 1, 200}}, {{0, 1, 0}, {6, 2, 200}}},                             // the middle
      {{{0, 0, 128}, {6, 3, 72}}, {{0, 0, 0}, {6, 3, 64}}, {{0, 0, 64}, {6, 3, 64}}}};  // columns, another order
  for (auto const& boxes : layouts) {
    PartialChecksum all({DType::f32, shape});
    Hash128 added;
    for (auto const& box : boxes) {
      add_box(all, shape, box, v);
      PartialChecksum one({DType::f32, shape});
      add_box(one, shape, box, v);
      added += one.sum();
    }
    EXPECT_EQ(all.sum(), whole);
    EXPECT_EQ(added, whole);
    EXPECT_EQ(all.cells(), all.total_cells());
  }
}

TEST(Checksum, reads_cells_that_a_box_cuts_from_the_file_once_and_only_by_the_owner_of_their_first_element) {
  Shape const shape{5, 150};
  auto v = ramp(shape.count());
  test::TemporaryDirectory const directory;
  auto const file = File::open(directory / "t", Mode::create);
  file.write(v.data(), 4 * shape.count(), 12);
  for (std::int64_t cut : {1, 63, 65, 100, 149}) {
    PartialChecksum left({DType::f32, shape}), right({DType::f32, shape});
    add_box(left, shape, {{0, 0}, {5, cut}}, v);
    add_box(right, shape, {{0, cut}, {5, 150 - cut}}, v);
    EXPECT_LT(left.cells() + right.cells(), left.total_cells()) << cut;
    left.add_cut_cells(file, 12);
    right.add_cut_cells(file, 12);
    EXPECT_EQ(left.cells() + right.cells(), left.total_cells()) << cut;
    auto sum = left.sum();
    EXPECT_EQ(sum += right.sum(), checksum({v.data(), {DType::f32, shape}})) << cut;
  }
}

TEST(Checksum, sees_a_flipped_bit_exchanged_cells_and_other_shapes) {
  auto v = ramp(256);
  auto const before = checksum({v.data(), {DType::f32, {4, 64}}});
  EXPECT_NE(checksum({v.data(), {DType::f32, {2, 128}}}), Hash128{});
  std::swap_ranges(v.begin(), v.begin() + 64, v.begin() + 64);
  EXPECT_NE(checksum({v.data(), {DType::f32, {4, 64}}}), before);
  std::swap_ranges(v.begin(), v.begin() + 64, v.begin() + 64);
  EXPECT_EQ(checksum({v.data(), {DType::f32, {4, 64}}}), before);
  reinterpret_cast<unsigned char&>(v[200]) ^= 1u;
  EXPECT_NE(checksum({v.data(), {DType::f32, {4, 64}}}), before);
}

TEST(Checksum, of_an_empty_tensor_is_zero_and_of_a_scalar_is_one_cell) {
  EXPECT_EQ(checksum({nullptr, {DType::f32, {0, 4}}}), Hash128{});
  EXPECT_EQ(checksum({nullptr, {DType::f32, {4, 0}}}), Hash128{});
  double x = 2.5;
  std::string cell(16, '\0');
  std::memcpy(cell.data() + 8, &x, 8);
  EXPECT_EQ(checksum({&x, {DType::f64, Shape{}}}), hash128(cell));
}

}  // namespace
}  // namespace lamina::io
