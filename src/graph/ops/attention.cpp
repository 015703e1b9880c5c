#include "lamina/graph/ops/attention.hpp"

#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {

using detail::Inputs;

// B batch, T tokens, N heads, H head size, P context (entries of a cache)
namespace {

void require_attention(std::string_view kind, AttentionAttrs const& a) {
  detail::require_attribute(kind, a.p >= 0 && a.p < 1, "p", a.p, "a probability in [0, 1)");
}

Attributes attention_attributes(AttentionAttrs const& a) {
  Attributes attributes{{"causal", std::int64_t{a.causal}}, {"p", a.p}};
  if (a.p > 0) attributes.set("operation", std::int64_t{a.operation});
  return attributes;
}

void require_qkv(Inputs const& in, int i) {
  in.dtype(i, detail::real_types).ndim(i, 5).extent(i, 2, 3, "queries, keys and values");
}

Shape heads_of(Shape const& qkv) { return {qkv[0], qkv[1], qkv[3], qkv[4]}; }
Shape lse_of(Shape const& qkv) { return {qkv[0], qkv[3], qkv[1]}; }

void require_rng(Inputs const& in, int i) { in.dtype(i, {DType::i64}).shape(i, {3}, "{seed, step, first sample}"); }

/// Flops of one product of [T, H] with [H, T] per head and sample; a causal one needs the lower triangle.
std::int64_t product_flops(Shape const& qkv, bool causal) {
  auto const t = qkv[1], pairs = causal ? t * (t + 1) / 2 : t * t;
  return 2 * qkv[0] * qkv[3] * qkv[4] * pairs;
}

std::int64_t round_up(std::int64_t x, std::int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

std::int64_t forward_scratch(std::int64_t h, std::int64_t threads) {
  return 4 * threads * (256 * round_up(h, 16) + 8448);
}

}  // namespace

Attention::Attention(AttentionAttrs attrs) : attrs_(attrs) { require_attention(kind(), attrs); }

Attributes Attention::attributes() const { return attention_attributes(attrs_); }

std::vector<TensorSpec> Attention::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"qkv", attrs_.p > 0 ? "rng" : ""});
  require_qkv(x, 0);
  if (attrs_.p > 0) require_rng(x, 1);
  return {{in[0].dtype, heads_of(in[0].shape)}, {DType::f32, lse_of(in[0].shape)}};
}

void Attention::differentiate(GradBuilder& g) const {
  if (!g.needs(0)) return;
  std::vector<int> in{g.grad(0), g.in(0), g.out(0), g.out(1)};
  if (attrs_.p > 0) in.push_back(g.in(1));
  g.contribute(0, g.apply(std::make_shared<AttentionGrad>(attrs_), in)[0]);
}

ShardRule Attention::shard_rule() const { return {attrs_.p > 0 ? "bt!q!nh!,. -> btnh,bnt" : "bt!q!nh! -> btnh,bnt"}; }

Cost Attention::cost(std::span<TensorSpec const> in) const {
  return detail::cost_of(*this, in, 2 * product_flops(in[0].shape, attrs_.causal));
}

std::int64_t Attention::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  return forward_scratch(in[0].shape[4], threads);
}

AttentionGrad::AttentionGrad(AttentionAttrs attrs) : attrs_(attrs) { require_attention(kind(), attrs); }

Attributes AttentionGrad::attributes() const { return attention_attributes(attrs_); }

std::vector<TensorSpec> AttentionGrad::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"dy", "qkv", "y", "lse", attrs_.p > 0 ? "rng" : ""});
  require_qkv(x, 1);
  for (int const i : {0, 2}) x.dtype(i, {in[1].dtype}).shape(i, heads_of(in[1].shape), "the heads of qkv");
  x.dtype(3, {DType::f32}).shape(3, lse_of(in[1].shape), "one row per head of qkv");
  if (attrs_.p > 0) require_rng(x, 4);
  return {in[1]};
}

ShardRule AttentionGrad::shard_rule() const {
  return {attrs_.p > 0 ? "bt!nh!,btq!nh,btnh,bnt,. -> btqnh" : "bt!nh!,btq!nh,btnh,bnt -> btqnh"};
}

Cost AttentionGrad::cost(std::span<TensorSpec const> in) const {
  return detail::cost_of(*this, in, 4 * product_flops(in[1].shape, attrs_.causal));
}

std::int64_t AttentionGrad::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  auto const t = round_up(in[1].shape[1], 64), h = round_up(in[1].shape[4], 16);
  return std::int64_t{4} * threads * (4 * t * h + 320 * h + 12544);
}

std::vector<TensorSpec> AttentionCached::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"qkv", "cache_k", "cache_v", "position"});
  require_qkv(x, 0);
  auto const& qkv = in[0].shape;
  x.dtype(1, {in[0].dtype}).ndim(1, 4);
  x.shape(1, {qkv[0], qkv[3], in[1].shape[2], qkv[4]}, "samples, heads, entries, head size of qkv");
  if (in[1].shape[2] < qkv[1]) x.fail_shape(1, text("at least ", qkv[1], " entries, the tokens of qkv ", in[0]));
  x.dtype(2, {in[0].dtype}).shape(2, in[1].shape, "the shape of cache_k");
  x.dtype(3, {DType::i32}).shape(3, {1}, "one position");
  return {{in[0].dtype, heads_of(qkv)}, in[1], in[2]};
}

Cost AttentionCached::cost(std::span<TensorSpec const> in) const {
  auto const& qkv = in[0].shape;
  auto const flops = 4 * qkv[0] * qkv[3] * qkv[4] * qkv[1] * in[1].shape[2];
  auto const rows = in[0].bytes() / 3;  // y, and the new entries of each cache
  return {.flops = flops, .bytes = in[0].bytes() + in[1].bytes() + in[2].bytes() + in[3].bytes() + 3 * rows};
}

std::int64_t AttentionCached::scratch_bytes(std::span<TensorSpec const> in, int threads) const {
  return forward_scratch(in[0].shape[4], threads);
}

}  // namespace lamina::graph
