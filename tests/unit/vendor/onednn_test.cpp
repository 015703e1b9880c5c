#include "vendor/onednn/onednn.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "lamina/tensor/packed.hpp"
#include "support/errors.hpp"

namespace lamina::vendor::onednn {
namespace {

/// A matrix of small integers, exact in bf16, so that sums are exact and results can be compared with ==.
class Matrix {
 public:
  Matrix(std::int64_t rows, std::int64_t ld, DType t)
      : t_(t), ld_(ld), bytes_(static_cast<std::size_t>(rows * ld * 4)) {}
  static Matrix numbered(std::int64_t rows, std::int64_t ld, DType t, std::int64_t step) {
    Matrix m(rows, ld, t);
    for (std::int64_t i = 0; i < rows * ld; ++i) m.set(i, static_cast<float>(i * step % 7 - 3));
    return m;
  }

  float at(std::int64_t row, std::int64_t column) const {
    auto const i = static_cast<std::size_t>(row * ld_ + column);
    if (t_ == DType::f32) return reinterpret_cast<float const*>(bytes_.data())[i];
    return std::bit_cast<float>(std::uint32_t{reinterpret_cast<std::uint16_t const*>(bytes_.data())[i]} << 16);
  }
  void set(std::int64_t i, float value) {
    if (t_ == DType::f32) reinterpret_cast<float*>(bytes_.data())[i] = value;
    if (t_ == DType::bf16) {
      reinterpret_cast<std::uint16_t*>(bytes_.data())[i] =
          static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
    }
  }
  void* data() { return bytes_.data(); }

 private:
  DType t_;
  std::int64_t ld_;
  std::vector<std::byte> bytes_;
};

struct Case {
  DType in, out;
  bool transposed_a, transposed_b, packed_b, bias, accumulate;
};

class OneDnn : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!available()) GTEST_SKIP() << "built without oneDNN";
  }
};

TEST_P(OneDnn, multiplies_what_the_shape_says) {
  auto const& c = GetParam();
  std::int64_t const m = 5, n = 67, k = 33, spare = 3;
  MatMulShape s{.m = m, .n = n, .k = k, .a = c.in, .b = c.in, .c = c.out};
  s.transposed_a = c.transposed_a, s.transposed_b = c.transposed_b, s.packed_b = c.packed_b;
  s.bias = c.bias, s.accumulate = c.accumulate;
  s.lda = (c.transposed_a ? m : k) + spare, s.ldb = (c.transposed_b ? k : n) + spare, s.ldc = n + spare;
  auto a = Matrix::numbered(c.transposed_a ? k : m, s.lda, c.in, 3);
  auto b = Matrix::numbered(c.transposed_b ? n : k, s.ldb, c.in, 5);
  auto out = Matrix::numbered(m, s.ldc, c.out, 2), bias = Matrix::numbered(1, n, DType::f32, 4);
  auto const before = out;
  std::vector<std::byte> packed(static_cast<std::size_t>(packed_weight_bytes(n, k, c.in))), scratch(1 << 22);
  void* operand = b.data();
  if (c.packed_b) {
    Pack pack({.k = k, .n = n, .ld = s.ldb, .transposed = c.transposed_b, .from = c.in, .to = c.in});
    EXPECT_LE(pack.packed_bytes(), packed_weight_bytes(n, k, c.in));
    pack.run(b.data(), packed.data(), scratch.data());
    operand = packed.data();
  }
  MatMul product(s);
  ASSERT_LE(product.scratch_bytes(), static_cast<std::int64_t>(scratch.size()));
  product.run(a.data(), operand, out.data(), bias.data(), scratch.data());
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      float sum = (c.bias ? bias.at(0, j) : 0) + (c.accumulate ? before.at(i, j) : 0);
      for (std::int64_t l = 0; l < k; ++l) {
        sum += (c.transposed_a ? a.at(l, i) : a.at(i, l)) * (c.transposed_b ? b.at(j, l) : b.at(l, j));
      }
      EXPECT_NEAR(out.at(i, j), sum, c.out == DType::bf16 ? std::abs(sum) / 256 : 0) << i << ", " << j;
    }
    for (std::int64_t j = n; j < s.ldc; ++j) EXPECT_EQ(out.at(i, j), before.at(i, j)) << "behind row " << i;
  }
}

auto constexpr f32 = DType::f32, bf16 = DType::bf16;
INSTANTIATE_TEST_SUITE_P(products, OneDnn,
                         ::testing::Values(Case{f32, f32, false, false, false, false, false},
                                           Case{f32, f32, false, true, false, true, false},
                                           Case{f32, f32, true, false, false, false, true},
                                           Case{f32, f32, false, true, true, true, false},
                                           Case{f32, f32, false, false, true, false, true},
                                           Case{bf16, bf16, false, true, true, true, false},
                                           Case{bf16, f32, true, false, false, false, true},
                                           Case{bf16, f32, false, true, false, false, false},
                                           Case{bf16, bf16, false, false, true, false, false}));

TEST(OneDnnLayouts, fit_the_bytes_that_are_planned_for_them) {
  if (!available()) GTEST_SKIP() << "built without oneDNN";
  for (DType const t : {f32, bf16}) {
    for (auto const& [n, k] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {65, 3}, {3, 65}, {2304, 768}, {769, 3071}, {50257, 33}}) {
      Pack const pack({.k = k, .n = n, .ld = k, .transposed = true, .from = f32, .to = t});
      EXPECT_LE(pack.packed_bytes(), packed_weight_bytes(n, k, t)) << t << " n " << n << " k " << k;
    }
  }
}

TEST(OneDnnAbsent, names_the_option_of_the_build) {
  if (available()) {
    EXPECT_NE(version(), "none");
    return;
  }
  EXPECT_EQ(version(), "none");
  EXPECT_FALSE(has_bf16_tiles());
  EXPECT_EQ(test::error_of([] { MatMul({.m = 1, .n = 1, .k = 1}); }).code, "vendor.onednn.absent");
  EXPECT_EQ(test::error_of([] { Pack({.k = 1, .n = 1}); }).code, "vendor.onednn.absent");
}

}  // namespace
}  // namespace lamina::vendor::onednn
