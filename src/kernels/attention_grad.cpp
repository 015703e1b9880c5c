#include "detail/attention.hpp"
#include "detail/attention_mask.hpp"
#include "detail/parallel.hpp"
#include "lamina/kernels/attention.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

// Scratch of one thread, which has a whole head.
struct BackwardBlocks {
  BackwardBlocks(void* scratch, AttentionSizes const& s) {
    Carver carve(scratch);
    auto const pad = s.padded_H(), tokens = round_up(s.T, attention_block);
    for (auto* b : {&key, &value, &dkey, &dvalue}) *b = carve.block(tokens, pad);
    for (auto* b : {&query, &dy, &dquery}) *b = carve.block(attention_block, pad);
    for (auto* b : {&query_t, &dy_t}) *b = carve.block(pad, attention_block);
    for (auto* b : {&p, &ds, &mask}) *b = carve.block(attention_block, attention_block);
    auto const statistics = carve.block(4, attention_block);
    lse = statistics.at(0, 0), delta = statistics.at(1, 0);
  }
  Block key, value, dkey, dvalue;  // [T][H]
  Block query, dy, dquery;         // [64][H]; query is scaled
  Block query_t, dy_t;             // [H][64]
  Block p, ds, mask;               // [key][query]
  float *lse, *delta;              // [64]
};

// From scores (in p) and dy v^T (in ds) to probabilities and the scores' gradient: ds = p * (dp - delta).
void softmax_grad(BackwardBlocks const& s, int columns, int keys, Sight sight, bool masked) {
  for (int q = 0; q < columns; q += lanes) {
    Floats const lse = load(s.lse + q), delta = load(s.delta + q);
    int const full = sight.full(q, keys), some = sight.some(q, keys);
    auto const one = [&](int k, Floats p) {
      Floats dp = load(s.ds.at(k, q)), dropped = p;
      if (masked) {
        Floats const factor = load(s.mask.at(k, q));
        dp *= factor, dropped *= factor;
      }
      Floats const ds = p * (dp - delta);
      store(s.p.at(k, q), dropped);
      return ds;
    };
    int k = 0;
    for (; k < full; ++k) store(s.ds.at(k, q), one(k, exp_bounded(load(s.p.at(k, q)) - lse)));
    for (; k < some; ++k) {
      auto const sees = visible(q, k, sight);
      Floats const ds = one(k, sees ? exp_bounded(load(s.p.at(k, q)) - lse) : Floats{});
      store(s.ds.at(k, q), sees ? ds : Floats{});
    }
    for (; k < keys; ++k) store(s.p.at(k, q), Floats{}), store(s.ds.at(k, q), Floats{});
  }
}

// One block of queries against one block of keys: five products.
void take_pair(BackwardBlocks const& s, std::int64_t H, int queries, std::int64_t first_key, int keys, Sight sight,
               bool first_of_keys, bool first_of_queries, bool masked) {
  int const columns = static_cast<int>(round_up(queries, lanes)), pad = static_cast<int>(s.query.stride);
  auto const rows_from = [&](Block b) { return Block{b.at(first_key, 0), b.stride}; };
  auto const score_band = [&](int row, int) { return sight.scores(row, H); };
  auto const query_band = [&](int row, int) { return sight.over_queries(row, queries); };
  auto const key_band = [&](int row, int rows) { return sight.over_keys(row, rows, keys); };
  multiply<false>(keys, columns, rows_from(s.key), s.query_t, s.p, Into::set, nullptr, score_band);
  multiply<false>(keys, columns, rows_from(s.value), s.dy_t, s.ds, Into::set, nullptr, score_band);
  softmax_grad(s, columns, keys, sight, masked);
  auto const into_keys = first_of_keys ? Into::set : Into::add;
  multiply<false>(keys, pad, s.p, s.dy, rows_from(s.dvalue), into_keys, nullptr, query_band);
  multiply<false>(keys, pad, s.ds, s.query, rows_from(s.dkey), into_keys, nullptr, query_band);
  multiply<true>(queries, pad, s.ds, rows_from(s.key), s.dquery, first_of_queries ? Into::set : Into::add, nullptr,
                 key_band);
}

// Queries [first, first + count) with the gradient of their y, both ways round; delta = sum over H of dy * y.
template <class E>
void start_queries(BackwardBlocks const& s, HeadRows<E const> query, HeadRows<E const> dy, HeadRows<E const> y,
                   float const* lse, std::int64_t first, int count, std::int64_t H) {
  pack_rows(query, first, count, H, 1 / std::sqrt(static_cast<float>(H)), s.query);
  pack_rows(dy, first, count, H, 1.f, s.dy);
  transpose_queries(s.query, count, s.query_t);
  transpose_queries(s.dy, count, s.dy_t);
  for (int q = 0; q < attention_block; ++q) {
    s.lse[q] = q < count ? lse[first + q] : 0;
    auto const* yq = y.p + (first + q) * y.stride;
    s.delta[q] =
        q < count
            ? sum_vectors(H, [&](std::int64_t h, auto part) { return load(yq + h, part) * load(s.dy.at(q, h), part); })
            : 0;
  }
}

template <class E>
void write_rows(Block from, int count, std::int64_t H, float scale, HeadRows<E> to, std::int64_t first) {
  for (int r = 0; r < count; ++r) {
    auto* row = to.p + (first + r) * to.stride;
    for_vectors(0, H, [&](std::int64_t h, auto part) { store(row + h, load(from.at(r, h), part) * scale, part); });
  }
}

template <class E>
void one_head(AttentionGradArgs const& a, AttentionSizes const& s, AttentionMask const& mask, std::int64_t b,
              std::int64_t n, BackwardBlocks const& blk) {
  auto const* qkv = a.qkv.as<E const>();
  auto const length = [&](std::int64_t first) {
    return static_cast<int>(std::min<std::int64_t>(attention_block, s.T - first));
  };
  auto const tokens = static_cast<int>(s.T);
  pack_rows(s.qkv(qkv, b, 1, n), 0, tokens, s.H, 1.f, blk.key);
  pack_rows(s.qkv(qkv, b, 2, n), 0, tokens, s.H, 1.f, blk.value);
  auto const* lse = a.lse.as<float>() + (b * s.N + n) * s.T;
  auto* dqkv = a.dqkv.as<E>();
  for (std::int64_t first_query = 0; first_query < s.T; first_query += attention_block) {
    int const queries = length(first_query);
    start_queries<E>(blk, s.qkv(qkv, b, 0, n), s.y(a.dy.as<E const>(), b, n), s.y(a.y.as<E const>(), b, n), lse,
                     first_query, queries, s.H);
    auto const end = a.causal ? first_query + queries : s.T;
    for (std::int64_t first_key = 0; first_key < end; first_key += attention_block) {
      int const keys = length(first_key);
      Sight const sight{a.causal ? static_cast<int>(first_query - first_key) : Sight::all};
      if (mask.on()) mask.fill(b, n, first_query, queries, first_key, keys, blk.mask);
      take_pair(blk, s.H, queries, first_key, keys, sight, first_query == (a.causal ? first_key : 0), first_key == 0,
                mask.on());
    }
    write_rows(blk.dquery, queries, s.H, 1 / std::sqrt(static_cast<float>(s.H)), s.qkv(dqkv, b, 0, n), first_query);
  }
  write_rows(blk.dkey, tokens, s.H, 1.f, s.qkv(dqkv, b, 1, n), 0);
  write_rows(blk.dvalue, tokens, s.H, 1.f, s.qkv(dqkv, b, 2, n), 0);
}

template <class E>
void run(AttentionGradArgs const& a, AttentionSizes const& s) {
  static std::string const label = "lamina::kernels::attention_grad";
  AttentionMask const mask(a, s);
  for_each_task(label, s.B * s.N, [&](std::int64_t head, int slot) {
    BackwardBlocks const blk(a.scratch.as<char>() + slot * attention_grad_scratch(s.T, s.H), s);
    one_head<E>(a, s, mask, head / s.N, head % s.N, blk);
  });
}

}  // namespace
}  // namespace detail

void attention_grad(device::Stream& stream, AttentionGradArgs const& a) {
  detail::Check const check{"attention_grad"};
  auto const s = detail::attention_sizes(check, a.qkv);
  for (auto const& [name, t] : {std::pair{"dy", &a.dy}, std::pair{"y", &a.y}}) {
    check.dtype(name, *t, {a.qkv.spec.dtype});
    check.shape(name, *t, {s.B, s.T, s.N, s.H});
  }
  check.dtype("dqkv", a.dqkv, {a.qkv.spec.dtype});
  check.dtype("lse", a.lse, {DType::f32});
  check.shape("dqkv", a.dqkv, a.qkv.spec.shape);
  check.shape("lse", a.lse, {s.B, s.N, s.T});
  check.probability(a.p);
  detail::check_rng(check, a.rng, a.p);
  detail::check_heads(check, a.heads, s);
  check.scratch(a.scratch, threads() * detail::attention_grad_scratch(s.T, s.H));
  stream.wait();
  a.qkv.spec.dtype == DType::f32 ? detail::run<float>(a, s) : detail::run<detail::Bf16>(a, s);
}

}  // namespace lamina::kernels
