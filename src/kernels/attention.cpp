#include "lamina/kernels/attention.hpp"

#include "detail/attention_forward.hpp"
#include "detail/attention_mask.hpp"
#include "detail/parallel.hpp"

namespace lamina::kernels {
namespace detail {
namespace {

// One task per sample, head and block of queries. The blocks of a head follow each other, because its keys and values
// then stay in the second-level cache; the longest (last) comes first.
template <class E>
void run(AttentionArgs const& a, AttentionSizes const& s) {
  static std::string const label = "lamina::kernels::attention";
  auto const blocks = (s.T + attention_block - 1) / attention_block;
  AttentionMask const mask(a, s);
  for_each_task(label, s.B * s.N * blocks, [&](std::int64_t task, int slot) {
    auto const head = task / blocks, b = head / s.N, n = head % s.N;
    auto const first_query = (blocks - 1 - task % blocks) * attention_block;
    ForwardBlocks const blk(a.scratch.as<char>() + slot * attention_scratch(s.H), s.H);
    auto const* qkv = a.qkv.as<E const>();
    auto const k = s.qkv(qkv, b, 1, n), v = s.qkv(qkv, b, 2, n);
    int const queries = static_cast<int>(std::min<std::int64_t>(attention_block, s.T - first_query));
    start_queries(blk, s.qkv(qkv, b, 0, n), first_query, queries, s.H);
    auto const end = a.causal ? first_query + queries : s.T;
    for (std::int64_t first_key = 0; first_key < end; first_key += attention_block) {
      int const keys = static_cast<int>(std::min<std::int64_t>(attention_block, s.T - first_key));
      Sight const sight{a.causal ? static_cast<int>(std::min<std::int64_t>(first_query - first_key, Sight::all))
                                 : Sight::all};
      pack_rows(k, first_key, keys, s.H, 1.f, blk.key);
      pack_rows(v, first_key, keys, s.H, 1.f, blk.value);
      if (mask.on()) mask.fill(b, n, first_query, queries, first_key, keys, blk.mask);
      take_block(blk, s.H, queries, keys, sight, first_key == 0, mask.on());
    }
    finish_queries(blk, s.y(a.y.as<E>(), b, n), first_query, queries, s.H, a.lse.as<float>() + head * s.T);
  });
}

}  // namespace
}  // namespace detail

void attention(device::Stream& stream, AttentionArgs const& a) {
  detail::Check const check{"attention"};
  auto const s = detail::attention_sizes(check, a.qkv);
  check.dtype("y", a.y, {a.qkv.spec.dtype});
  check.dtype("lse", a.lse, {DType::f32});
  check.shape("y", a.y, {s.B, s.T, s.N, s.H});
  check.shape("lse", a.lse, {s.B, s.N, s.T});
  check.probability(a.p);
  detail::check_rng(check, a.rng, a.p);
  detail::check_heads(check, a.heads, s);
  check.scratch(a.scratch, threads() * detail::attention_scratch(s.H));
  stream.wait();
  a.qkv.spec.dtype == DType::f32 ? detail::run<float>(a, s) : detail::run<detail::Bf16>(a, s);
}

}  // namespace lamina::kernels
