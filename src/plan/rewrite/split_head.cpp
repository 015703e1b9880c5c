#include "plan/detail/split_head.hpp"

#include <memory>

#include "lamina/graph/ops/linear.hpp"
#include "lamina/graph/ops/loss.hpp"
#include "plan/detail/rebuild.hpp"

namespace lamina::plan {
namespace {

constexpr std::int64_t most_bytes = std::int64_t{1} << 28;

void put_split(Rebuild& rebuild, graph::Graph const& source, graph::Node const& n, graph::HeadAttrs attrs) {
  attrs.split = true;
  auto const made = rebuild.put(std::make_shared<graph::HeadLossGrad>(attrs), rebuild.of(n.in), {}, n);
  rebuild.stand_in(n.out[0], made[0]);
  auto const& x = source.value(n.in[0]).spec;
  graph::LinearAttrs const weight{.bias = attrs.bias, .contract = 1, .rows_dims = x.shape.ndim() - 1};
  std::vector<int> const out(n.out.begin() + 1, n.out.end());
  auto const gradients =
      rebuild.put(std::make_shared<graph::LinearGradWeight>(weight), {made[1], rebuild.of(n.in[0])}, out, n);
  for (std::size_t o = 0; o < out.size(); ++o) rebuild.stand_in(out[o], gradients[o]);
}

}  // namespace

graph::Graph split_head(graph::Graph const& source, std::int64_t ranks) {
  Rebuild rebuild(source);
  for (auto const& n : source.nodes()) {
    auto const* head = dynamic_cast<graph::HeadLossGrad const*>(n.op.get());
    auto const& x = n.in.empty() ? TensorSpec{} : source.value(n.in[0]).spec;
    auto const logits = head == nullptr ? 0 : x.count() / x.shape.back() * source.value(n.in[1]).spec.shape[0];
    bool const split = head != nullptr && logits / ranks * sizeof_dtype(x.dtype) <= most_bytes;
    if (split) {
      put_split(rebuild, source, n, head->attrs());
    } else {
      rebuild.add(n.op, n.in, n.out, n);
    }
  }
  return rebuild.finish();
}

}  // namespace lamina::plan
