#include "lamina/kernels/attention.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "../detail/element.hpp"
#include "lamina/base/philox.hpp"

namespace lamina::kernels {
namespace {

using detail::get, detail::put;
using Index = std::int64_t;

struct Sizes {
  explicit Sizes(TensorRef const& qkv)
      : B(qkv.spec.shape[0]), T(qkv.spec.shape[1]), N(qkv.spec.shape[3]), H(qkv.spec.shape[4]) {}
  Index B, T, N, H;
  Index y(Index b, Index t, Index n, Index h) const { return ((b * T + t) * N + n) * H + h; }
  Index qkv(Index b, Index t, Index which, Index n, Index h) const {
    return (((b * T + t) * 3 + which) * N + n) * H + h;
  }
};

// The factor that dropout puts on a probability: 0 or 1 / (1 - p).
template <class Args>
double dropout_factor(Args const& a, Sizes const& s, Index b, Index n, Index q, Index k) {
  if (a.p == 0) return 1;
  auto const* rng = a.rng.template as<std::int64_t>();
  auto const sample = static_cast<std::uint64_t>(rng[2] + a.sample + b);
  auto const heads = a.heads.count == 0 ? s.N : a.heads.count;
  auto const element = ((sample * heads + a.heads.first + n) * s.T + q) * s.T + k;
  auto const word =
      Philox::word(static_cast<std::uint64_t>(rng[0]), element, static_cast<std::uint32_t>(rng[1]), a.operation);
  return Philox::uniform(word) >= static_cast<float>(a.p) ? 1 / (1 - a.p) : 0;
}

// Scores of one query over `keys` keys and the log of the sum of their exponentials.
template <class Key>
double score(std::vector<double>& scores, TensorRef const& qkv, Sizes const& s, Index b, Index n, Index q, Index keys,
             Key const& key) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (Index k = 0; k < keys; ++k) {
    scores[k] = 0;
    for (Index h = 0; h < s.H; ++h) scores[k] += get(qkv, s.qkv(b, q, 0, n, h)) * key(k, h);
    scores[k] /= std::sqrt(static_cast<double>(s.H));
    max = std::max(max, scores[k]);
  }
  for (Index k = 0; k < keys; ++k) sum += std::exp(scores[k] - max);
  return max + std::log(sum);
}

}  // namespace

void attention_reference(AttentionArgs const& a) {
  Sizes const s(a.qkv);
  std::vector<double> scores(s.T);
  for (Index b = 0; b < s.B; ++b) {
    for (Index n = 0; n < s.N; ++n) {
      for (Index q = 0; q < s.T; ++q) {
        auto const keys = a.causal ? q + 1 : s.T;
        auto const key = [&](Index k, Index h) { return get(a.qkv, s.qkv(b, k, 1, n, h)); };
        double const lse = score(scores, a.qkv, s, b, n, q, keys, key);
        put(a.lse, (b * s.N + n) * s.T + q, lse);
        for (Index h = 0; h < s.H; ++h) {
          double y = 0;
          for (Index k = 0; k < keys; ++k) {
            y += std::exp(scores[k] - lse) * dropout_factor(a, s, b, n, q, k) * get(a.qkv, s.qkv(b, k, 2, n, h));
          }
          put(a.y, s.y(b, q, n, h), y);
        }
      }
    }
  }
}

void attention_grad_reference(AttentionGradArgs const& a) {
  Sizes const s(a.qkv);
  double const scale = 1 / std::sqrt(static_cast<double>(s.H));
  std::vector<double> scores(s.T), sum(s.B * s.T * 3 * s.N * s.H);
  for (Index b = 0; b < s.B; ++b) {
    for (Index n = 0; n < s.N; ++n) {
      for (Index q = 0; q < s.T; ++q) {
        auto const keys = a.causal ? q + 1 : s.T;
        auto const key = [&](Index k, Index h) { return get(a.qkv, s.qkv(b, k, 1, n, h)); };
        score(scores, a.qkv, s, b, n, q, keys, key);
        double delta = 0;
        for (Index h = 0; h < s.H; ++h) delta += get(a.dy, s.y(b, q, n, h)) * get(a.y, s.y(b, q, n, h));
        for (Index k = 0; k < keys; ++k) {
          double const p = std::exp(scores[k] - get(a.lse, (b * s.N + n) * s.T + q));
          double const factor = dropout_factor(a, s, b, n, q, k);
          double dp = 0;
          for (Index h = 0; h < s.H; ++h) {
            dp += get(a.dy, s.y(b, q, n, h)) * get(a.qkv, s.qkv(b, k, 2, n, h)) * factor;
            sum[s.qkv(b, k, 2, n, h)] += p * factor * get(a.dy, s.y(b, q, n, h));
          }
          double const ds = p * (dp - delta) * scale;
          for (Index h = 0; h < s.H; ++h) {
            sum[s.qkv(b, q, 0, n, h)] += ds * get(a.qkv, s.qkv(b, k, 1, n, h));
            sum[s.qkv(b, k, 1, n, h)] += ds * get(a.qkv, s.qkv(b, q, 0, n, h));
          }
        }
      }
    }
  }
  for (Index i = 0; i < static_cast<Index>(sum.size()); ++i) put(a.dqkv, i, sum[i]);
}

void attention_cached_reference(AttentionCachedArgs const& a) {
  Sizes const s(a.qkv);
  auto const P = a.cache_k.spec.shape[2];
  Index const position = a.position.as<std::int32_t>()[0];
  std::vector<double> scores(P);
  for (Index b = 0; b < s.B; ++b) {
    for (Index n = 0; n < s.N; ++n) {
      auto const cache = [&](Index k, Index h) { return ((b * s.N + n) * P + k) * s.H + h; };
      for (Index t = 0; t < s.T; ++t) {
        for (Index h = 0; h < s.H; ++h) {
          put(a.cache_k, cache(position + t, h), get(a.qkv, s.qkv(b, t, 1, n, h)));
          put(a.cache_v, cache(position + t, h), get(a.qkv, s.qkv(b, t, 2, n, h)));
        }
      }
      for (Index t = 0; t < s.T; ++t) {
        auto const keys = position + (a.causal ? t + 1 : s.T);
        auto const key = [&](Index k, Index h) { return get(a.cache_k, cache(k, h)); };
        double const lse = score(scores, a.qkv, s, b, n, t, keys, key);
        for (Index h = 0; h < s.H; ++h) {
          double y = 0;
          for (Index k = 0; k < keys; ++k) y += std::exp(scores[k] - lse) * get(a.cache_v, cache(k, h));
          put(a.y, s.y(b, t, n, h), y);
        }
      }
    }
  }
}

}  // namespace lamina::kernels
