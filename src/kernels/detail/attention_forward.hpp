#pragma once

// One block of queries against all keys it sees: the online softmax of Milakov and Gimelshein (2018) as used by Dao
// et al., "FlashAttention" (2022).
#include "attention.hpp"

namespace lamina::kernels::detail {

inline constexpr float lowest_score = -3.0e38f;

/// Scratch of one thread.
struct ForwardBlocks {
  ForwardBlocks(void* scratch, std::int64_t H) {
    Carver carve(scratch);
    auto const pad = round_up(H, attention_pad);
    query = carve.block(pad, attention_block);
    key = carve.block(attention_block, pad);
    value = carve.block(attention_block, pad);
    y = carve.block(attention_block, pad);
    score = carve.block(attention_block, attention_block);
    mask = carve.block(attention_block, attention_block);
    auto const statistics = carve.block(4, attention_block);
    max = statistics.at(0, 0), sum = statistics.at(1, 0), alpha = statistics.at(2, 0);
  }
  Block query;  // [H][64], scaled
  Block key, value;
  Block y;      // [64][H], times sum
  Block score;  // [key][query]: scores, then probabilities times sum
  Block mask;   // [key][query]: what dropout multiplies them with
  float *max, *sum, *alpha;
};

/// Scores of one block of keys -> exp(score - max), with max, sum and alpha (the factor of what was summed before).
inline void online_softmax(ForwardBlocks const& s, int queries, int keys, Sight sight) {
  for (int q = 0; q < queries; q += lanes) {
    int const full = sight.full(q, keys), some = sight.some(q, keys);
    Floats const before = load(s.max + q);
    Floats m0 = before, m1 = before;
    int k = 0;
    for (; k + 2 <= full; k += 2) {
      Floats const a = load(s.score.at(k, q)), b = load(s.score.at(k + 1, q));
      m0 = a > m0 ? a : m0;
      m1 = b > m1 ? b : m1;
    }
    for (; k < some; ++k) {
      Floats const a = load(s.score.at(k, q));
      m0 = (a > m0) & visible(q, k, sight) ? a : m0;
    }
    Floats const max = m0 > m1 ? m0 : m1;
    Floats const alpha = exp(before - max);
    Floats sum = load(s.sum + q) * alpha;
    for (k = 0; k < full; ++k) {
      Floats const p = exp_bounded(load(s.score.at(k, q)) - max);
      store(s.score.at(k, q), p);
      sum += p;
    }
    for (; k < some; ++k) {
      Floats const p = visible(q, k, sight) ? exp_bounded(load(s.score.at(k, q)) - max) : Floats{};
      store(s.score.at(k, q), p);
      sum += p;
    }
    for (; k < keys; ++k) store(s.score.at(k, q), Floats{});
    store(s.max + q, max);
    store(s.sum + q, sum);
    store(s.alpha + q, alpha);
  }
}

/// Takes one more block of keys and values into s.y. `key` and `value` are packed rows.
inline void take_block(ForwardBlocks const& s, std::int64_t H, int queries, int keys, Sight sight, bool first,
                       bool masked) {
  int const columns = static_cast<int>(round_up(queries, lanes));
  multiply<false>(keys, columns, s.key, s.query, s.score, Into::set, nullptr,
                  [&](int row, int) { return sight.scores(row, H); });
  online_softmax(s, queries, keys, sight);
  if (masked) {
    for (int k = 0; k < keys; ++k) {
      for (int q = 0; q < columns; q += lanes) store(s.score.at(k, q), load(s.score.at(k, q)) * load(s.mask.at(k, q)));
    }
  }
  multiply<true>(queries, static_cast<int>(s.y.stride), s.score, s.value, s.y, first ? Into::set : Into::rescale,
                 s.alpha, [&](int row, int rows) { return sight.over_keys(row, rows, keys); });
}

/// Queries [first, first + count) of a head into s.query; statistics reset.
template <class T>
void start_queries(ForwardBlocks const& s, HeadRows<T> q, std::int64_t first, int count, std::int64_t H) {
  pack_rows(q, first, count, H, 1 / std::sqrt(static_cast<float>(H)), s.y);
  transpose_queries(s.y, count, s.query);
  std::fill(s.max, s.max + attention_block, lowest_score);
  std::fill(s.sum, s.sum + attention_block, 0.f);
}

/// y = s.y / sum, and lse (if wanted) = max + log(sum).
template <class T>
void finish_queries(ForwardBlocks const& s, HeadRows<T> y, std::int64_t first, int count, std::int64_t H, float* lse) {
  for (int r = 0; r < count; ++r) {
    float const factor = 1 / s.sum[r];
    auto* row = y.p + (first + r) * y.stride;
    for_vectors(0, H, [&](std::int64_t h, auto part) { store(row + h, load(s.y.at(r, h), part) * factor, part); });
  }
  if (!lse) return;
  for_vectors(0, count,
              [&](std::int64_t q, auto part) { store(lse + first + q, load(s.max + q) + log(load(s.sum + q)), part); });
}

}  // namespace lamina::kernels::detail
