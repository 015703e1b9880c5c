#pragma once

// What the attention kernels share: blocks of 64 queries by 64 keys in f32, kept as S^T[key][query] so that the softmax
// runs down columns, one query per lane, and no product needs a transposed key or value block.
#include <cstdint>
#include <limits>

#include "block_gemm.hpp"
#include "check.hpp"
#include "math.hpp"
#include "transpose.hpp"

namespace lamina::kernels::detail {

inline constexpr int attention_block = 64;
/// Rows of blocks are padded to this for every instruction set, so that planned scratch does not depend on it.
inline constexpr int attention_pad = 16;
static_assert(attention_block % lanes == 0 && attention_pad % lanes == 0);

/// The rows of one head: `count` rows of H elements, `stride` elements apart.
template <class T>
struct HeadRows {
  T* p;
  std::int64_t stride;
};

struct AttentionSizes {
  std::int64_t B, T, N, H;
  std::int64_t padded_H() const { return round_up(H, attention_pad); }

  /// which: 0 query, 1 key, 2 value.
  template <class E>
  HeadRows<E> qkv(E* p, std::int64_t b, std::int64_t which, std::int64_t n) const {
    return {p + b * T * 3 * N * H + which * N * H + n * H, 3 * N * H};
  }
  template <class E>
  HeadRows<E> y(E* p, std::int64_t b, std::int64_t n) const {
    return {p + b * T * N * H + n * H, N * H};
  }
};

/// Checks qkv; B, T, N, H from its shape.
inline AttentionSizes attention_sizes(Check const& check, TensorRef const& qkv) {
  check.dtype("qkv", qkv, {DType::f32, DType::bf16});
  check.ndim("qkv", qkv, 5);
  auto const& s = qkv.spec.shape;
  check.shape("qkv", qkv, {s[0], s[1], 3, s[3], s[4]});
  return {s[0], s[1], s[3], s[4]};
}

/// Bytes per thread of `attention` and `attention_cached`; src/graph/README.md has the same formula.
inline std::int64_t attention_scratch(std::int64_t H) { return 4 * (256 * round_up(H, attention_pad) + 8448); }
/// Bytes per thread of `attention_grad`.
inline std::int64_t attention_grad_scratch(std::int64_t T, std::int64_t H) {
  return 4 * ((4 * round_up(T, attention_block) + 320) * round_up(H, attention_pad) + 12544);
}

/// Cuts scratch into blocks.
class Carver {
 public:
  explicit Carver(void* p) : p_(static_cast<float*>(p)) {}
  Block block(std::int64_t rows, std::int64_t stride) {
    Block const b{p_, stride};
    p_ += rows * stride;
    return b;
  }

 private:
  float* p_;
};

/// to = scale * rows [first, first + count), padded with zeros to the stride of `to`.
template <class T>
void pack_rows(HeadRows<T> from, std::int64_t first, int count, std::int64_t H, float scale, Block to) {
  constexpr int ahead = 16, line = 64 / sizeof(T);  // rows are pages apart: no hardware prefetcher follows
  for (int r = 0; r < count; ++r) {
    auto const* row = from.p + (first + r) * from.stride;
    {
      for (std::int64_t h = 0; h < H; h += line) __builtin_prefetch(row + ahead * from.stride + h);
    }
    for_vectors(0, H, [&](std::int64_t h, auto part) { store(to.at(r, h), load(row + h, part) * scale); });
    for (auto h = round_up(H, lanes); h < to.stride; h += lanes) store(to.at(r, h), Floats{});
  }
}

/// to[column][row] = from[row][column] for a square of `lanes` rows.
inline void transpose_square(float const* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
  Floats rows[lanes];
#pragma GCC unroll 16
  for (int r = 0; r < lanes; ++r) rows[r] = load(from + r * from_stride);
  transpose(rows);
#pragma GCC unroll 16
  for (int r = 0; r < lanes; ++r) store(to + r * to_stride, rows[r]);
}

/// to[h][query] = from[query][h], 64 queries; those from `count` on are 0 (their rows of `from` are overwritten).
inline void transpose_queries(Block from, int count, Block to) {
  for (int r = count; r < attention_block; ++r) std::memset(from.at(r, 0), 0, sizeof(float) * from.stride);
  for (std::int64_t h = 0; h < from.stride; h += lanes) {
    for (int q = 0; q < attention_block; q += lanes) {
      transpose_square(from.at(q, h), from.stride, to.at(h, q), to.stride);
    }
  }
}

/// Which keys of a block the queries of a block see: key k is visible to query q if k <= q + offset, both counted in
/// their blocks. Without a mask, offset is large.
struct Sight {
  static constexpr int all = 1 << 20;
  int offset;

  /// Keys [0, full) are visible to all lanes from query q on, [0, some) to at least one.
  int full(int q, int keys) const { return std::clamp(q + offset + 1, 0, keys); }
  int some(int q, int keys) const { return std::clamp(q + lanes + offset, 0, keys); }
  /// Rows are keys, columns queries: the columns that see any of the rows.
  Band scores(int key, std::int64_t H) const {
    return {0, static_cast<int>(H), std::max(0, key - offset) / lanes * lanes};
  }
  /// Rows are queries, the sum runs over keys.
  Band over_keys(int query, int rows, int keys) const { return {0, std::clamp(query + rows + offset, 0, keys), 0}; }
  /// Rows are keys, the sum runs over queries.
  Band over_queries(int key, int queries) const { return {std::clamp(key - offset, 0, queries), queries, 0}; }
};

/// Lane l of a vector of queries from q on sees key k.
inline Ints visible(int q, int k, Sight sight) { return lane_numbers() + (q + sight.offset) >= k; }

}  // namespace lamina::kernels::detail
