#pragma once

#include "attention.hpp"
#include "random.hpp"

namespace lamina::kernels::detail {

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
      : on_(a.p > 0), sizes_(s), random_(a.rng, a.p, a.operation, a.sample) {}

  bool on() const { return on_; }

  /// to[key][query] = the factor; 0 for queries from `queries` on.
  void fill(std::int64_t b, std::int64_t n, std::int64_t first_query, int queries, std::int64_t first_key, int keys,
            Block to) const {
    float row[attention_block];
    auto const T = static_cast<std::uint64_t>(sizes_.T), N = static_cast<std::uint64_t>(sizes_.N);
    auto const head = (random_.first_sample + static_cast<std::uint64_t>(b)) * N + static_cast<std::uint64_t>(n);
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
  DropoutMask random_;
};

}  // namespace lamina::kernels::detail
