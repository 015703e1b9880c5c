#include "lamina/graph/ops/embedding.hpp"

#include <memory>

#include "graph/detail/check.hpp"
#include "lamina/base/text.hpp"
#include "lamina/graph/grad_builder.hpp"

namespace lamina::graph {

using detail::Inputs;

Embedding::Embedding(Attrs attrs) : attrs_(attrs) {
  detail::require_attribute(kind(), attrs.positions || !attrs.offset, "offset", 1, "0 without learned positions");
}

Attributes Embedding::attributes() const {
  return {{"positions", std::int64_t{attrs_.positions}}, {"offset", std::int64_t{attrs_.offset}}};
}

std::vector<TensorSpec> Embedding::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"table", "ids", attrs_.positions ? "positions" : "", attrs_.offset ? "position" : ""});
  x.dtype(0, {DType::f32}).ndim(0, 2).dtype(1, {DType::i32}).ndim(1, 2);
  std::int64_t const tokens = in[1].shape[1], model = in[0].shape[1];
  if (attrs_.positions) {
    x.dtype(2, {DType::f32}).ndim(2, 2).extent(2, 1, model, "the width of the table");
    if (in[2].shape[0] < tokens) x.fail_shape(2, text("at least ", tokens, " rows, one per token of ids ", in[1]));
  }
  if (attrs_.offset) x.dtype(3, {DType::i32}).shape(3, {1}, "one offset");
  return {{DType::f32, {in[1].shape[0], tokens, model}}};
}

void Embedding::differentiate(GradBuilder& g) const {
  std::vector<int> targets{g.target(0)};
  if (attrs_.positions) targets.push_back(g.target(2));
  EmbeddingGrad::Attrs const attrs{.positions = attrs_.positions,
                                   .vocab = g.in_spec(0).shape[0],
                                   .context = attrs_.positions ? g.in_spec(2).shape[0] : 0};
  g.apply(std::make_shared<EmbeddingGrad>(attrs), {g.grad(0), g.in(1)}, targets);
}

ShardRule Embedding::shard_rule() const {
  if (!attrs_.positions) return {"vd,bt -> btd"};
  return {attrs_.offset ? "vd,bt!,+p!d,. -> btd" : "vd,bt!,+p!d -> btd"};  // row t of the positions: no split of t
}

Cost Embedding::cost(std::span<TensorSpec const> in) const {
  auto const out = infer(in)[0];  // reads one row of each table per token
  return {.flops = 0, .bytes = out.bytes() * (attrs_.positions ? 3 : 2) + in[1].bytes()};
}

EmbeddingGrad::EmbeddingGrad(Attrs attrs) : attrs_(attrs) {
  detail::require_attribute(kind(), attrs.vocab > 0, "vocab", static_cast<double>(attrs.vocab), "at least 1");
  detail::require_attribute(kind(), !attrs.positions || attrs.context > 0, "context",
                            static_cast<double>(attrs.context), "at least 1 with learned positions");
}

Attributes EmbeddingGrad::attributes() const {
  return {{"positions", std::int64_t{attrs_.positions}}, {"vocab", attrs_.vocab}, {"context", attrs_.context}};
}

std::vector<TensorSpec> EmbeddingGrad::infer(std::span<TensorSpec const> in) const {
  Inputs const x(kind(), in, {"dx", "ids"});
  x.dtype(0, {DType::f32})
      .ndim(0, 3)
      .dtype(1, {DType::i32})
      .shape(1, detail::without_last(in[0].shape), "the rows of dx");
  std::int64_t const model = in[0].shape[2];
  std::vector<TensorSpec> out{{DType::f32, {attrs_.vocab, model}}};
  if (attrs_.positions) out.push_back({DType::f32, {attrs_.context, model}});
  return out;
}

ShardRule EmbeddingGrad::shard_rule() const { return {attrs_.positions ? "bt!d,bt -> +vd,=p!d" : "btd,bt -> +vd"}; }

Cost EmbeddingGrad::cost(std::span<TensorSpec const> in) const {
  // One row of each gradient is read and written per token.
  return {.flops = 0, .bytes = in[0].bytes() * (attrs_.positions ? 5 : 3) + in[1].bytes()};
}

}  // namespace lamina::graph
