#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "lamina/base/text.hpp"
#include "lamina/graph/optimizer.hpp"
#include "support/errors.hpp"
#include "support/tiny_gpt.hpp"

namespace lamina::models {
namespace {

using ::testing::HasSubstr;
constexpr Mode modes[] = {Mode::train, Mode::eval, Mode::prefill, Mode::decode};

/// "<name> <shape>" of every parameter.
std::vector<std::string> shapes(graph::Graph const& g) {
  std::vector<std::string> out;
  for (int const p : g.parameters()) out.push_back(text(g.value(p).name, ' ', g.value(p).spec.shape));
  return out;
}

int count(graph::Graph const& g, std::string_view kind) {
  auto const& n = g.nodes();
  return static_cast<int>(std::count_if(n.begin(), n.end(), [&](auto const& x) { return x.op->kind() == kind; }));
}

std::int64_t elements(graph::Graph const& g) {
  std::int64_t n = 0;
  for (int const p : g.parameters()) n += g.value(p).spec.count();
  return n;
}

TEST(Gpt, has_the_parameters_that_scripts_and_checkpoints_know) {
  auto m = test::tiny_gpt();
  m.layers = 1;
  std::vector<std::string> expected{"embed.tokens.weight [11, 6]",
                                    "embed.positions.weight [8, 6]",
                                    "blocks.0.attn.norm.weight [6]",
                                    "blocks.0.attn.norm.bias [6]",
                                    "blocks.0.attn.qkv.weight [3, 2, 3, 6]",
                                    "blocks.0.attn.qkv.bias [3, 2, 3]",
                                    "blocks.0.attn.out.weight [6, 2, 3]",
                                    "blocks.0.attn.out.bias [6]",
                                    "blocks.0.mlp.norm.weight [6]",
                                    "blocks.0.mlp.norm.bias [6]",
                                    "blocks.0.mlp.fc.weight [20, 6]",
                                    "blocks.0.mlp.fc.bias [20]",
                                    "blocks.0.mlp.proj.weight [6, 20]",
                                    "blocks.0.mlp.proj.bias [6]",
                                    "final.norm.weight [6]",
                                    "final.norm.bias [6]"};
  EXPECT_EQ(shapes(build(m, test::request(Mode::train))), expected);
  m.tied = false, m.head_bias = true;
  expected.insert(expected.end(), {"head.weight [11, 6]", "head.bias [11]"});
  EXPECT_EQ(shapes(build(m, test::request(Mode::train))), expected);
  m.positions = "none";
  expected.erase(expected.begin() + 1);
  EXPECT_EQ(shapes(build(m, test::request(Mode::train))), expected);
}

TEST(Gpt, of_the_size_of_gpt2_has_its_number_of_parameters) {
  auto const g = build(test::gpt2_124m(), {.mode = Mode::eval, .batch = 1, .tokens = 1024, .context = 1024});
  EXPECT_EQ(elements(g), 124439808);
}

TEST(Gpt, of_encoder_layers_has_the_number_of_parameters_of_their_pytorch_counterpart) {
  auto m = test::tiny_gpt();
  m.norm = "post", m.activation = "relu", m.causal = false, m.positions = "none", m.tied = false, m.head_bias = true;
  m.layers = 24, m.hidden = 2048, m.heads = 16, m.ff = 2048, m.vocab = 50000;
  auto const g = build(m, {.mode = Mode::eval, .batch = 1, .tokens = 512, .context = 512});
  // nn.Embedding, 24 x nn.TransformerEncoderLayer(2048, 16, 2048), nn.Linear(2048, 50000)
  EXPECT_EQ(elements(g), 50000 * 2048 + 24 * 25186304 + 50000 * 2048 + 50000);
  EXPECT_EQ(elements(g), 809321296);
}

TEST(Gpt, has_the_same_parameters_in_every_mode) {
  for (bool const tied : {true, false}) {
    for (auto const* norm : {"pre", "post"}) {
      auto m = test::tiny_gpt();
      m.tied = tied, m.norm = norm;
      auto const expected = shapes(build(m, test::request(Mode::train)));
      for (auto const mode : modes) EXPECT_EQ(shapes(build(m, test::request(mode))), expected);
    }
  }
}

TEST(Gpt, costs_six_flops_per_parameter_and_token_and_its_attention) {
  std::int64_t const batch = 4, t = 256;
  auto const m = test::gpt2_124m();
  auto const g = build(m, {.mode = Mode::train, .batch = batch, .tokens = t, .context = t});
  std::int64_t flops = 0;
  for (auto const& n : g.nodes()) {
    std::vector<TensorSpec> in;
    for (int const i : n.in) in.push_back(g.value(i).spec);
    flops += n.op->cost(in).flops;
  }
  double const per_token = static_cast<double>(flops) / static_cast<double>(batch * t);
  std::int64_t const n = elements(g) - m.context * m.hidden;
  double const expected = static_cast<double>(6 * n + 6 * m.layers * m.hidden * t);
  EXPECT_NEAR(per_token / expected, 1, 2e-3) << "biases and norms are not in products";
}

TEST(Gpt, trains_every_parameter_and_decays_the_matrices) {
  for (bool const tied : {true, false}) {
    auto m = test::tiny_gpt();
    m.tied = tied, m.head_bias = true;
    auto g = build(m, test::request(Mode::train));
    for (int const p : g.parameters()) {
      auto const& v = g.value(p);
      EXPECT_GE(g.gradient_of(p), 0) << v.name;
      bool const matrix = v.name.ends_with(".weight") && v.name.find("norm") == std::string::npos;
      EXPECT_EQ(v.decay, matrix) << v.name;
      EXPECT_EQ(v.init.kind == graph::Init::Kind::normal, matrix) << v.name;
    }
    graph::append_optimizer(g, {});
    EXPECT_EQ(count(g, "adamw"), static_cast<int>(g.parameters().size()));
  }
}

TEST(Gpt, scales_the_initial_residual_projections_by_the_depth) {
  auto const g = build(test::tiny_gpt(), test::request(Mode::train));
  auto const stddev = [&](std::string_view name) { return g.value(g.find(name, Role::parameter)).init.stddev; };
  EXPECT_EQ(stddev("embed.positions.weight"), 0.02);
  EXPECT_EQ(stddev("blocks.1.attn.qkv.weight"), 0.02);
  EXPECT_DOUBLE_EQ(stddev("blocks.1.attn.out.weight"), 0.02 / std::sqrt(2.0 * 2));
  EXPECT_DOUBLE_EQ(stddev("blocks.0.mlp.proj.weight"), 0.02 / std::sqrt(2.0 * 2));
}

TEST(Gpt, names_all_dims_that_a_mesh_could_split) {
  for (auto const mode : modes) {
    auto const g = build(test::tiny_gpt(), test::request(mode));
    for (auto const& v : g.values()) {
      if (v.role != Role::parameter && v.role != Role::activation && v.role != Role::cache) continue;
      for (std::size_t d = 0; d < v.dims.size(); ++d) {
        bool const of_qkv = v.spec.shape[static_cast<int>(d)] == 3 && d + 1 < v.dims.size() && v.dims[d + 1] == "heads";
        EXPECT_TRUE(!v.dims[d].empty() || of_qkv) << v.name << " dim " << d;
      }
    }
  }
}

TEST(Gpt, keeps_the_residual_stream_in_f32_and_feeds_products_with_bf16) {
  for (auto const* norm : {"pre", "post"}) {
    auto m = test::tiny_gpt();
    m.norm = norm;
    auto const g = build(m, test::request(Mode::train, DType::bf16));
    for (auto const& n : g.nodes()) {
      auto const kind = n.op->kind();
      auto const dtype = [&](int v) { return g.value(v).spec.dtype; };
      bool const wide = kind == "add" || kind == "layer_norm";
      bool const product = kind.starts_with("linear") || kind.starts_with("attention") || kind.starts_with("head");
      if (wide || product) {
        EXPECT_EQ(dtype(n.in[0]), wide ? DType::f32 : DType::bf16) << n.layer << ' ' << kind;
      }
    }
    for (int const p : g.parameters()) EXPECT_EQ(g.value(p).spec.dtype, DType::f32) << "master precision";
  }
}

TEST(Gpt, sums_no_gradients_apart_where_the_norm_comes_first) {
  auto const g = build(test::tiny_gpt(), test::request(Mode::train));
  for (auto const& n : g.nodes()) {
    EXPECT_FALSE(n.phase == graph::Phase::backward && n.op->kind() == "add") << "layer_norm_grad adds that path";
  }
  EXPECT_EQ(count(g, "cast"), 0) << "f32 casts nothing";
}

TEST(Gpt, drops_at_gpt2s_places_and_only_in_training) {
  auto m = test::tiny_gpt();
  m.dropout = 0.1;
  auto const g = build(m, test::request(Mode::train));
  EXPECT_EQ(count(g, "dropout"), 2 * (1 + 2 * 2)) << "embedding and both branches, each with its backward";
  std::map<std::int64_t, int> uses;
  int attentions = 0;
  for (auto const& n : g.nodes()) {
    auto const a = n.op->attributes();
    if (n.op->kind() == "attention") attentions += a.real("p") == 0.1 ? 1 : 0;
    if (a.has("operation")) ++uses[a.integer("operation")];
  }
  EXPECT_EQ(attentions, 2);
  EXPECT_EQ(uses.size(), 7U);
  for (auto const& [id, n] : uses) EXPECT_EQ(n, 2) << "forward and backward of " << id;
  for (auto const mode : {Mode::eval, Mode::prefill, Mode::decode}) {
    auto const other = build(m, test::request(mode));
    EXPECT_EQ(other.find("rng", Role::input), -1);
    EXPECT_EQ(count(other, "dropout"), 0);
  }
}

TEST(Gpt, generates_over_caches_of_the_whole_context) {
  for (auto const mode : {Mode::prefill, Mode::decode}) {
    auto const r = test::request(mode, DType::bf16);
    auto const g = build(test::tiny_gpt(), r);
    for (auto const* name : {"blocks.0.attn.cache_k", "blocks.1.attn.cache_v"}) {
      int const cache = g.find(name, Role::cache);
      ASSERT_GE(cache, 0) << name;
      EXPECT_EQ(g.value(cache).spec, (TensorSpec{DType::bf16, {3, 2, 8, 3}}));
    }
    int const logits = g.find("logits", Role::output);
    ASSERT_GE(logits, 0);
    EXPECT_EQ(g.value(logits).spec, (TensorSpec{DType::f32, {3, 11}}));
    EXPECT_EQ(g.value(g.find("tokens", Role::input)).spec.shape, (Shape{3, r.tokens}));
    for (auto const* name : {"position", "last"}) EXPECT_GE(g.find(name, Role::input), 0) << name;
    EXPECT_EQ(g.find("targets", Role::input), -1);
    EXPECT_EQ(g.find("loss", Role::output), -1);
  }
}

TEST(Gpt, refuses_sizes_that_do_not_fit_together) {
  auto const code = [](auto const& change, Mode mode = Mode::train) {
    auto m = test::tiny_gpt();
    change(m);
    return test::error_of([&] { build(m, test::request(mode)); }).code;
  };
  EXPECT_EQ(code([](auto& m) { m.heads = 4; }), "models.gpt.heads");
  EXPECT_EQ(code([](auto& m) { m.layers = 0; }), "models.gpt.size");
  EXPECT_EQ(code([](auto& m) { m.vocab = 0; }), "models.gpt.vocab");
  EXPECT_EQ(code([](auto& m) { m.context = 4; }), "models.gpt.context");
  EXPECT_EQ(code([](auto& m) { m.dropout = 1; }), "models.gpt.dropout");
  EXPECT_EQ(code([](auto& m) { m.norm = "none"; }), "models.gpt.norm");
  EXPECT_EQ(code([](auto& m) { m.activation = "tanh"; }), "models.gpt.activation");
  EXPECT_EQ(code([](auto& m) { m.positions = "rotary"; }), "models.gpt.positions");
  EXPECT_EQ(code([](auto& m) { m.causal = false; }, Mode::decode), "models.gpt.generate");
  auto r = test::request(Mode::eval);
  r.batch = 0;
  EXPECT_EQ(test::error_of([&] { build(test::tiny_gpt(), r); }).code, "models.gpt.request");
  auto without = test::tiny_gpt();
  without.context = 4, without.positions = "none";
  EXPECT_NO_THROW(build(without, test::request(Mode::eval))) << "only learned positions bound the length";
}

TEST(Gpt, reports_all_problems_at_once) {
  auto m = test::tiny_gpt();
  m.heads = 4, m.norm = "none";
  auto const e = test::error_of([&] { build(m, test::request(Mode::train)); });
  EXPECT_THAT(e.found, ::testing::AllOf(HasSubstr("heads = 4"), HasSubstr("norm = none")));
}

TEST(Gpt, is_built_alike_every_time) {
  auto m = test::tiny_gpt();
  m.dropout = 0.1;
  for (auto const mode : modes) {
    EXPECT_EQ(to_text(build(m, test::request(mode))), to_text(build(m, test::request(mode))));
  }
}

}  // namespace
}  // namespace lamina::models
