#pragma once

// Products of small blocks that lie in the first two cache levels, for attention: c[M][N] = a b with b and c row-major
// with padded rows, a either way round. Tiles of 6 rows by 4 (AVX-512) or 2 vectors stay in registers.
#include <algorithm>

#include "simd.hpp"

namespace lamina::kernels::detail {

inline constexpr int tile_rows = 6;
inline constexpr int tile_vectors = lanes == 16 ? 4 : 2;

/// What happens to the old value of c.
enum class Into { set, add, rescale };  // rescale: c = alpha[row] * c + a b

/// Elements of a block are at p[row * stride + column].
struct Block {
  float* p;
  std::int64_t stride;
  float* at(std::int64_t row, std::int64_t column) const { return p + row * stride + column; }
};

/// What a tile of rows needs of a banded product: depth [depth_begin, depth_end), columns from column_begin on, which
/// is a multiple of `lanes`.
struct Band {
  int depth_begin, depth_end, column_begin;
};

/// One tile: rows x vectors. `transposed`: a is stored [depth][rows].
template <bool transposed, int rows, int vectors>
[[gnu::noinline]] void multiply_tile(int depth, float const* a, std::int64_t a_stride, float const* b,
                                     std::int64_t b_stride, float* c, std::int64_t c_stride, Into into,
                                     float const* alpha) {
  Floats sum[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[r][v] = Floats{};
  }
  for (int k = 0; k < depth; ++k) {
    Floats bk[vectors];
#pragma GCC unroll 4
    for (std::int64_t v = 0; v < vectors; ++v) bk[v] = load(b + k * b_stride + v * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      Floats const ar = splat(transposed ? a[k * a_stride + r] : a[r * a_stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] += ar * bk[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    float const factor = into == Into::rescale ? alpha[r] : 1.f;
#pragma GCC unroll 4
    for (std::int64_t v = 0; v < vectors; ++v) {
      float* const to = c + r * c_stride + v * lanes;
      store(to, into == Into::set ? sum[r][v] : sum[r][v] + factor * load(to));
    }
  }
}

template <bool transposed, int rows>
void multiply_rows(int columns, Band band, Block a, Block b, Block c, Into into, float const* alpha) {
  int const depth = std::max(0, band.depth_end - band.depth_begin), k = band.depth_begin;
  float const* const a0 = transposed ? a.at(k, 0) : a.at(0, k);
  auto const tile = [&]<int vectors>(int n) {
    multiply_tile<transposed, rows, vectors>(depth, a0, a.stride, b.at(k, n), b.stride, c.at(0, n), c.stride, into,
                                             alpha);
  };
  int n = band.column_begin;
  for (; n + tile_vectors * lanes <= columns; n += tile_vectors * lanes) tile.template operator()<tile_vectors>(n);
  if constexpr (tile_vectors == 4) {
    if (n + 2 * lanes <= columns) tile.template operator()<2>(n), n += 2 * lanes;
  }
  if (n < columns) tile.template operator()<1>(n);
}

/// c[rows][columns] = a b; columns is a multiple of `lanes`; band(first row, rows of the tile) says what is needed.
template <bool transposed, class BandOf>
void multiply(int rows, int columns, Block a, Block b, Block c, Into into, float const* alpha, BandOf const& band) {
  auto const part = [&]<int count>(int row) {
    Block const from{transposed ? a.at(0, row) : a.at(row, 0), a.stride}, to{c.at(row, 0), c.stride};
    multiply_rows<transposed, count>(columns, band(row, count), from, b, to, into, alpha ? alpha + row : nullptr);
  };
  int row = 0;
  for (; row + tile_rows <= rows; row += tile_rows) part.template operator()<tile_rows>(row);
  switch (rows - row) {
    case 5:
      return part.template operator()<5>(row);
    case 4:
      return part.template operator()<4>(row);
    case 3:
      return part.template operator()<3>(row);
    case 2:
      return part.template operator()<2>(row);
    case 1:
      return part.template operator()<1>(row);
    default:
      return;
  }
}

}  // namespace lamina::kernels::detail
