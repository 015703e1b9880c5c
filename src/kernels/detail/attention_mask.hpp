#pragma once

#include "attention.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/kernels/attention.hpp"
#include "random.hpp"

namespace lamina::kernels::detail {

/// The heads of qkv are inside of all heads.
inline void check_heads(Check const& check, HeadPart const& part, AttentionSizes const& s) {
  if (part.count == 0 ? part.first == 0 : part.first >= 0 && part.first + s.N <= part.count) return;
  fail({.code = text("kernels.", check.op, ".shape"),
        .subject = text(check.op, ": heads"),
        .found = text(s.N, " from ", part.first, " on, of ", part.count),
        .expected = "heads of the whole",
        .fix = "cut the heads in equal parts"});
}

inline void check_rng(Check const& check, TensorRef const& rng, double p) {
  if (p == 0) return;
  check.dtype("rng", rng, {DType::i64});
  check.count("rng", rng, 3);
}

/// Dropout of the probabilities: the elements are those of the global [B, N, T, T].
class AttentionMask {
 public:
  template <class Args>
  AttentionMask(Args const& a, AttentionSizes const& s)
      : on_(a.p > 0),
        sizes_(s),
        first_head_(a.heads.first),
        all_heads_(a.heads.count == 0 ? s.N : a.heads.count),
        random_(a.rng, a.p, a.operation, a.sample) {}

  bool on() const { return on_; }

  /// to[key][query] = the factor; 0 for queries from `queries` on.
  void fill(std::int64_t b, std::int64_t n, std::int64_t first_query, int queries, std::int64_t first_key, int keys,
            Block to) const {
    float row[attention_block];
    auto const T = static_cast<std::uint64_t>(sizes_.T), N = static_cast<std::uint64_t>(all_heads_);
    auto const head =
        (random_.first_sample + static_cast<std::uint64_t>(b)) * N + static_cast<std::uint64_t>(first_head_ + n);
    for (int q = 0; q < attention_block; ++q) {
      if (q < queries) {
        auto const element = (head * T + static_cast<std::uint64_t>(first_query + q)) * T;
        random_.factors(element + static_cast<std::uint64_t>(first_key), keys, row);
      } else {
        std::fill(row, row + keys, 0.f);
      }
      for (int k = 0; k < keys; ++k) *to.at(k, q) = row[k];
    }
  }

 private:
  bool on_;
  AttentionSizes sizes_;
  std::int64_t first_head_, all_heads_;
  DropoutMask random_;
};

}  // namespace lamina::kernels::detail
