#include "plan/detail/recompute.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "lamina/base/error.hpp"
#include "lamina/base/philox.hpp"
#include "lamina/runtime/executor.hpp"
#include "plan/detail/fuse.hpp"
#include "plan/detail/selection.hpp"
#include "support/plan_cases.hpp"
#include "support/program_of_graph.hpp"

namespace lamina::plan {
namespace {

using graph::Graph;
using graph::Phase;
using ::testing::HasSubstr;

Graph gpt(test::PlanCase const& c, bool fused) {
  auto g = test::plan_graphs(c, Purpose::train).train;
  return fused ? fuse(g).graph : g;
}

/// Most bytes of activations in use at one node.
std::int64_t peak_bytes(Graph const& g) {
  std::vector<int> last(g.values().size(), -1);
  for (auto const& n : g.nodes()) {
    for (int const v : n.in) last[static_cast<std::size_t>(v)] = n.id;
  }
  std::int64_t now = 0, most = 0;
  std::map<int, std::int64_t> ends;
  for (auto const& n : g.nodes()) {
    for (int const v : n.out) {
      if (g.value(v).role != Role::activation) continue;
      now += g.value(v).spec.bytes();
      ends[std::max(last[static_cast<std::size_t>(v)], n.id)] += g.value(v).spec.bytes();
    }
    most = std::max(most, now);
    now -= ends[n.id];
  }
  return most;
}

/// A graph in memory, run once forward and backward on made-up parameters.
class GraphRun {
 public:
  explicit GraphRun(Graph const& g)
      : graph_(g), program_(g, 1), executor_(program_.set(), comm::Communicator::self(), {.reference_kernels = true}) {
    for (auto const& v : g.values()) {
      if (v.producer >= 0 || (v.role != Role::parameter && v.role != Role::input)) continue;
      auto const t = at(v.id);
      for (std::int64_t i = 0; i < t.spec.count(); ++i) {
        auto const word = Philox::word(7, static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(v.name.size()), 3);
        if (t.spec.dtype == DType::f32) t.as<float>()[i] = static_cast<float>(Philox::uniform(word) - 0.5);
        if (t.spec.dtype == DType::i32) t.as<std::int32_t>()[i] = static_cast<std::int32_t>(word % 40);
        if (t.spec.dtype == DType::i64) t.as<std::int64_t>()[i] = i + 1;
      }
    }
    executor_.run("forward"), executor_.run("backward");
  }

  std::map<std::string, std::vector<float>> gradients() {
    std::map<std::string, std::vector<float>> all;
    for (auto const& v : graph_.values()) {
      if (v.role != Role::gradient || v.producer >= 0) continue;
      auto const t = at(v.id);
      all[v.name] = {t.as<float>(), t.as<float>() + t.spec.count()};
    }
    return all;
  }

 private:
  TensorRef at(int value) const { return executor_.buffer(program_.name(value), program_.role(value)); }
  Graph const& graph_;
  test::ProgramOfGraph program_;
  runtime::Executor executor_;
};

void expect_same_gradients(Graph const& before, Graph const& after, double relative) {
  auto const a = GraphRun(before).gradients(), b = GraphRun(after).gradients();
  ASSERT_FALSE(a.empty());
  ASSERT_EQ(a.size(), b.size());
  for (auto const& [name, expected] : a) {
    double largest = 0;
    for (float const x : expected) largest = std::max(largest, std::abs(double{x}));
    EXPECT_GT(largest, 0) << name;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(b.at(name)[i], expected[i], relative * largest) << name << " element " << i;
    }
  }
}

struct Case {
  char const* name;
  test::PlanCase gpt;
};

class Recompute : public ::testing::TestWithParam<Case> {};

TEST_P(Recompute, gives_the_same_bits_on_plain_graphs) {
  auto const before = gpt(GetParam().gpt, false);
  for (auto const* mode : {"selective", "full"}) {
    expect_same_gradients(before, recompute(before, {.mode = mode, .layers = {"blocks.*"}}).graph, 0);
  }
}

TEST_P(Recompute, gives_the_same_gradients_on_fused_graphs) {
  auto const before = gpt(GetParam().gpt, true);
  for (auto const* mode : {"selective", "full"}) {
    expect_same_gradients(before, recompute(before, {.mode = mode, .layers = {"*"}}).graph, 1e-6);
  }
}

TEST_P(Recompute, needs_less_memory_the_more_is_computed_again) {
  auto c = GetParam().gpt;
  c.layers = 6;
  for (bool const fused : {false, true}) {
    auto const before = gpt(c, fused);
    auto const selective = recompute(before, {.mode = "selective", .layers = {"blocks.*"}});
    auto const full = recompute(before, {.mode = "full", .layers = {"blocks.*"}});
    EXPECT_LT(peak_bytes(selective.graph), peak_bytes(before));
    EXPECT_LT(peak_bytes(full.graph), peak_bytes(selective.graph));
    EXPECT_GT(full.flops, selective.flops);
    EXPECT_EQ(full.graph.nodes().size(), before.nodes().size() + static_cast<std::size_t>(full.nodes));
  }
}

INSTANTIATE_TEST_SUITE_P(
    of, Recompute,
    ::testing::Values(Case{"plain", {.tied = false}}, Case{"dropout", {.dropout = 0.25, .tied = false}},
                      Case{"post", {.dropout = 0.1, .tied = false, .norm = "post", .activation = "relu"}},
                      Case{"bf16", {.dropout = 0.1, .tied = false, .bf16 = true}}),
    [](auto const& p) { return p.param.name; });

TEST(RecomputeLayers, none_leaves_the_graph_as_it_is) {
  auto const before = gpt({}, true);
  auto const after = recompute(before, {.mode = "none", .layers = {"nothing"}});
  EXPECT_EQ(graph::to_text(after.graph), graph::to_text(before));
  EXPECT_EQ(after.nodes, 0);
}

/// Blocks that have nodes in the backward with the kinds of the forward.
std::set<std::string> recomputed_blocks(Graph const& g) {
  std::set<std::string> blocks;
  for (auto const& n : g.nodes()) {
    auto const kind = n.op->kind();
    if (n.phase == Phase::backward && (kind == "linear" || kind == "linear_gelu" || kind == "attention")) {
      blocks.insert(block_of(n.layer));
    }
  }
  return blocks;
}

TEST(RecomputeLayers, only_the_selected_blocks_are_computed_again) {
  auto const before = gpt({.layers = 4}, true);
  auto const after = recompute(before, {.mode = "full", .layers = {"blocks.1-2"}});
  EXPECT_EQ(recomputed_blocks(after.graph), (std::set<std::string>{"blocks.1", "blocks.2"}));
  try {
    recompute(before, {.mode = "full", .layers = {"blocks.7"}});
    ADD_FAILURE() << "no Error was thrown";
  } catch (Error const& e) {
    EXPECT_THAT(e.what(), HasSubstr("\"blocks.7\" selects no layer"));
  }
}

TEST(RecomputeLayers, of_a_network_without_blocks_are_all_unless_some_are_named) {
  config::Model m;
  m.kind = "layers", m.input = {6};
  m.network = {{.op = "linear", .name = "a", .out = 8},
               {.op = "gelu", .name = "b"},
               {.op = "linear", .name = "c", .out = 8},
               {.op = "gelu", .name = "d"},
               {.op = "linear", .name = "e", .out = 4}};
  auto const before = models::build(m, {.mode = models::Mode::train, .batch = 2, .tokens = 1, .context = 1});
  auto const repeated = [&](char const* mode, std::vector<std::string> layers) {
    return recompute(before, {.mode = mode, .layers = std::move(layers)}).nodes;
  };
  EXPECT_EQ(repeated("selective", {"blocks.*"}), 2);  // the gelus
  EXPECT_EQ(repeated("full", {"blocks.*"}), 5);
  EXPECT_EQ(repeated("selective", {"d", "e"}), 1);
  EXPECT_EQ(repeated("selective", {"d"}), 0) << "what is read outside of the selection is kept";
  EXPECT_THROW(repeated("full", {"blocks.0"}), Error);
}

TEST(RecomputeLayers, full_repeats_attention_and_selective_repeats_no_product) {
  auto const before = gpt({}, true);
  EXPECT_TRUE(recomputed_blocks(recompute(before, {.mode = "selective", .layers = {"*"}}).graph).empty());
  EXPECT_EQ(recomputed_blocks(recompute(before, {.mode = "full", .layers = {"blocks.*"}}).graph).size(), 2u);
}

TEST(RecomputeLayers, what_accumulates_is_never_repeated) {
  auto const before = gpt({}, true);
  auto const after = recompute(before, {.mode = "full", .layers = {"*"}}).graph;
  auto const writers = [](Graph const& g) {
    std::map<std::string, int> count;
    for (auto const& v : g.values()) {
      if (v.accumulates_into >= 0) ++count[g.value(v.accumulates_into).name];
    }
    return count;
  };
  EXPECT_EQ(writers(after), writers(before));
}

TEST(RecomputeLayers, a_repeated_dropout_draws_the_same_numbers) {
  auto const before = gpt({.dropout = 0.3}, false);
  auto const after = recompute(before, {.mode = "full", .layers = {"blocks.*"}}).graph;
  std::set<std::int64_t> known;
  int repeated = 0;
  for (auto const& n : after.nodes()) {
    auto const attributes = n.op->attributes();
    if (attributes.find("operation") == nullptr) continue;
    if (n.phase == Phase::forward) {
      known.insert(attributes.integer("operation"));
    } else {
      EXPECT_TRUE(known.contains(attributes.integer("operation")));
      ++repeated;
    }
  }
  EXPECT_GT(repeated, 4);
}

TEST(RecomputeLayers, a_block_that_is_cut_over_stages_is_two) {
  auto const before = gpt({.layers = 2}, false);
  auto const stage = [](std::string const& layer) { return layer == "blocks.0.attn" || layer == "embed" ? 0 : 1; };
  auto const after = recompute(before, {.mode = "full", .layers = {"blocks.*"}, .stage = stage}).graph;
  for (auto const& n : after.nodes()) {
    if (n.phase != Phase::backward || stage(n.layer) == 0) continue;
    for (int const v : n.in) {
      int const producer = after.value(v).producer;
      if (producer < 0 || after.node(producer).phase == Phase::forward) continue;
      EXPECT_EQ(stage(after.node(producer).layer), 1) << n.layer << ' ' << n.op->kind();
    }
  }
}

TEST(RecomputeLayers, what_another_stage_made_is_not_computed_again) {
  auto const stage = [](std::string const& layer) { return layer == "blocks.0.attn" || layer == "embed" ? 0 : 1; };
  for (auto const* mode : {"selective", "full"}) {
    for (auto const* norm : {"pre", "post"}) {
      // Fusion over the cut is not allowed; where norms come last there is none.
      auto const before = gpt({.layers = 2, .tied = false, .norm = norm}, std::string_view(norm) == "post");
      auto const after = recompute(before, {.mode = mode, .layers = {"blocks.*"}, .stage = stage}).graph;
      std::map<int, std::set<int>> stages;  // of a parameter's readers
      for (auto const& n : after.nodes()) {
        for (int const v : n.in) {
          if (after.value(v).role == Role::parameter) stages[v].insert(stage(n.layer));
        }
      }
      for (auto const& [v, at] : stages) EXPECT_EQ(at.size(), 1u) << mode << ' ' << norm << ' ' << after.value(v).name;
    }
  }
}

}  // namespace
}  // namespace lamina::plan
