#include "detail/attention_forward.hpp"
#include "detail/parallel.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/kernels/attention.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

// Few tokens: a query at a time, lanes along H, so that the cache is read once and no lane is idle.
constexpr std::int64_t few_tokens = 4;

struct Cache {
  std::int64_t position, keys;  // entries before the new tokens; entries that the last token sees
  bool causal;
};

// The new keys and values of one head go into the cache.
template <class E>
void append(AttentionSizes const& s, HeadRows<E const> from, E* to, std::int64_t position) {
  for (std::int64_t t = 0; t < s.T; ++t) {
    std::memcpy(to + (position + t) * s.H, from.p + t * from.stride, sizeof(E) * static_cast<std::size_t>(s.H));
  }
}

template <class E>
void one_query(AttentionSizes const& s, HeadRows<E const> q, std::int64_t t, HeadRows<E const> k, HeadRows<E const> v,
               std::int64_t visible_keys, HeadRows<E> y, ForwardBlocks const& blk) {
  pack_rows(q, t, 1, s.H, 1 / std::sqrt(static_cast<float>(s.H)), blk.query);  // row 0 of [H][64] has room for H
  float *const query = blk.query.p, *const sum_y = blk.y.p;
  for (std::int64_t h = 0; h < blk.y.stride; h += lanes) store(sum_y + h, Floats{});
  float max = lowest_score, sum = 0;
  for (std::int64_t first = 0; first < visible_keys; first += attention_block) {
    auto const keys = std::min<std::int64_t>(attention_block, visible_keys - first);
    float* const score = blk.score.p;
    float const before = max;
    for (std::int64_t i = 0; i < keys; ++i) {
      auto const* key = k.p + (first + i) * k.stride;
      score[i] =
          sum_vectors(s.H, [&](std::int64_t h, auto part) { return load(key + h, part) * load(query + h, part); });
      max = score[i] > max ? score[i] : max;
    }
    float const alpha = exp(splat(before - max))[0];
    sum *= alpha;
    for (std::int64_t h = 0; h < blk.y.stride; h += lanes) store(sum_y + h, load(sum_y + h) * alpha);
    for_vectors(0, keys, [&](std::int64_t i, auto part) {
      Floats const p = keep(exp(load(score + i, part) - max), part);
      store(score + i, p, part);
      sum += sum_lanes(p);
    });
    for (std::int64_t i = 0; i < keys; ++i) {
      auto const* value = v.p + (first + i) * v.stride;
      for_vectors(0, s.H, [&](std::int64_t h, auto part) {
        store(sum_y + h, load(sum_y + h, part) + score[i] * load(value + h, part), part);
      });
    }
  }
  auto* to = y.p + t * y.stride;
  for_vectors(0, s.H, [&](std::int64_t h, auto part) { store(to + h, load(sum_y + h, part) * (1 / sum), part); });
}

template <class E>
void many_queries(AttentionSizes const& s, HeadRows<E const> q, HeadRows<E const> k, HeadRows<E const> v,
                  Cache const& cache, HeadRows<E> y, ForwardBlocks const& blk) {
  for (std::int64_t first = 0; first < s.T; first += attention_block) {
    int const queries = static_cast<int>(std::min<std::int64_t>(attention_block, s.T - first));
    start_queries(blk, q, first, queries, s.H);
    auto const end = cache.causal ? cache.position + first + queries : cache.keys;
    for (std::int64_t first_key = 0; first_key < end; first_key += attention_block) {
      int const keys = static_cast<int>(std::min<std::int64_t>(attention_block, end - first_key));
      auto const offset = std::min<std::int64_t>(cache.position + first - first_key, Sight::all);
      pack_rows(k, first_key, keys, s.H, 1.f, blk.key);
      pack_rows(v, first_key, keys, s.H, 1.f, blk.value);
      take_block(blk, s.H, queries, keys, {cache.causal ? static_cast<int>(offset) : Sight::all}, first_key == 0,
                 false);
    }
    finish_queries(blk, y, first, queries, s.H, nullptr);
  }
}

template <class E>
void run(AttentionCachedArgs const& a, AttentionSizes const& s) {
  static std::string const label = "lamina::kernels::attention_cached";
  auto const P = a.cache_k.spec.shape[2];
  std::int64_t const position = a.position.as<std::int32_t>()[0];
  Cache const cache{position, position + s.T, a.causal};
  for_each_task(label, s.B * s.N, [&](std::int64_t head, int slot) {
    auto const b = head / s.N, n = head % s.N;
    ForwardBlocks const blk(a.scratch.as<char>() + slot * attention_scratch(s.H), s.H);
    auto const* qkv = a.qkv.as<E const>();
    auto *k = a.cache_k.as<E>() + head * P * s.H, *v = a.cache_v.as<E>() + head * P * s.H;
    append<E>(s, s.qkv(qkv, b, 1, n), k, position);
    append<E>(s, s.qkv(qkv, b, 2, n), v, position);
    HeadRows<E const> const keys{k, s.H}, values{v, s.H}, q = s.qkv(qkv, b, 0, n);
    auto const y = s.y(a.y.as<E>(), b, n);
    if (s.T > few_tokens) return many_queries<E>(s, q, keys, values, cache, y, blk);
    for (std::int64_t t = 0; t < s.T; ++t) {
      one_query<E>(s, q, t, keys, values, a.causal ? position + t + 1 : cache.keys, y, blk);
    }
  });
}

}  // namespace
}  // namespace detail

void attention_cached(device::Stream& stream, AttentionCachedArgs const& a) {
  detail::Check const check{"attention_cached"};
  auto const s = detail::attention_sizes(check, a.qkv);
  check.ndim("cache_k", a.cache_k, 4);
  auto const P = a.cache_k.spec.shape[2];
  for (auto const& [name, t] : {std::pair{"cache_k", &a.cache_k}, std::pair{"cache_v", &a.cache_v}}) {
    check.dtype(name, *t, {a.qkv.spec.dtype});
    check.shape(name, *t, {s.B, s.N, P, s.H});
  }
  check.dtype("y", a.y, {a.qkv.spec.dtype});
  check.shape("y", a.y, {s.B, s.T, s.N, s.H});
  check.dtype("position", a.position, {DType::i32});
  check.count("position", a.position, 1);
  check.scratch(a.scratch, threads() * detail::attention_scratch(s.H));
  stream.wait();
  std::int64_t const position = a.position.as<std::int32_t>()[0];
  if (position < 0 || position + s.T > P) {
    fail({.code = "kernels.attention_cached.position",
          .subject = "attention_cached: position",
          .found = text(position, " + ", s.T, " new tokens"),
          .expected = text("at most ", P, " entries"),
          .fix = "stop at the model's context"});
  }
  a.qkv.spec.dtype == DType::f32 ? detail::run<float>(a, s) : detail::run<detail::Bf16>(a, s);
}

}  // namespace lamina::kernels
