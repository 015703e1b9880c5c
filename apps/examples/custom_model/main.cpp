// A model of one's own with every subcommand of lamina: a decoder with parallel blocks, x + attention(norm(x)) +
// mlp(norm(x)), one norm a block (as in GPT-J; Wang and Komatsuzaki, 2021). Parameters, gradients, sharding, memory
// planning, checkpoints and generation follow from what is written here.
#include <lamina/graph/ops/elementwise.hpp>
#include <lamina/graph/ops/embedding.hpp>
#include <lamina/lamina.hpp>
#include <memory>
#include <string>

namespace {

using lamina::DType;
using lamina::models::Builder;
using lamina::models::Mode;

void build_parallel_blocks(Builder& b, lamina::config::Model const& model) {
  auto const depth = model.custom.integer("depth"), width = model.custom.integer("width"),
             groups = model.custom.integer("groups");
  auto const compute = b.request().compute;
  bool const generates = b.request().mode == Mode::prefill || b.request().mode == Mode::decode;
  lamina::graph::Init const init{.kind = lamina::graph::Init::Kind::normal, .stddev = 0.02};

  int table = -1, x = -1;
  {
    auto const layer = b.scope("embed");
    table = b.parameter("tokens.weight", {model.vocab, width}, {"vocab", "model"}, init, true);
    int const positions = b.parameter("positions.weight", {model.context, width}, {"context", "model"}, init, true);
    std::vector<int> in = {table, b.tokens(), positions};
    if (generates) in.push_back(b.position());
    x = b.apply(std::make_shared<lamina::graph::Embedding>(
                    lamina::graph::Embedding::Attrs{.positions = true, .offset = generates}),
                in)[0];
  }
  for (std::int64_t i = 0; i < depth; ++i) {
    auto const layer = b.scope("blocks." + std::to_string(i));
    int const y = b.layer_norm("norm", x, compute);
    int const qkv = b.linear("qkv", y, {3, groups, width / groups}, {"", "heads", "head_size"}, 1, true, init, compute);
    int const a =
        b.linear("out", b.attention(qkv, /*causal=*/true, /*p=*/0), {width}, {"model"}, 2, true, init, DType::f32);
    int const z = b.gelu(b.linear("fc", y, {4 * width}, {"ff"}, 1, true, init, compute));
    x = b.add(b.add(x, a), b.linear("proj", z, {width}, {"model"}, 1, true, init, DType::f32));
  }
  if (generates) x = b.apply(std::make_shared<lamina::graph::SelectToken>(), {x, b.last()})[0];
  int y = -1;
  {
    auto const layer = b.scope("final");
    y = b.layer_norm("norm", x, compute);
  }
  auto const layer = b.scope("head");
  b.head(y, table, -1);
}

}  // namespace

int main(int argument_count, char** arguments) {
  return lamina::run(
      argument_count, arguments,
      {{"parallel_blocks",
        build_parallel_blocks,
        {{.name = "depth", .default_value = std::int64_t{2}, .min = 1, .max = 1000, .help = "number of blocks"},
         {.name = "width",
          .default_value = std::int64_t{64},
          .min = 1,
          .max = 65536,
          .help = "width of the residual stream"},
         {.name = "groups",
          .default_value = std::int64_t{4},
          .min = 1,
          .max = 1024,
          .help = "attention heads; divides width"}}}});
}
