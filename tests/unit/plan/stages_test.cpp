#include "plan/detail/stages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lamina/base/error.hpp"
#include "lamina/base/philox.hpp"
#include "lamina/base/text.hpp"
#include "plan/detail/selection.hpp"

namespace lamina::plan {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<LayerCost> gpt(int blocks, std::int64_t embed = 1, std::int64_t block = 10, std::int64_t head = 5) {
  std::vector<LayerCost> layers{{"embed", embed}};
  for (int i = 0; i < blocks; ++i) {
    layers.push_back({text("blocks.", i, ".attn"), block / 2}),
        layers.push_back({text("blocks.", i, ".mlp"), block / 2});
  }
  layers.push_back({"final", 0}), layers.push_back({"head", head});
  return layers;
}

std::vector<LayerCost> plain(std::vector<std::int64_t> const& costs) {
  std::vector<LayerCost> layers;
  for (auto const c : costs) layers.push_back({text("fc", layers.size()), c});
  return layers;
}

std::string message(std::vector<LayerCost> const& layers, config::Stages const& wanted, int p, int chunks = 1) {
  try {
    assign_stages(layers, wanted, p, chunks);
  } catch (Error const& e) {
    return e.what();
  }
  return "";
}

TEST(Selection, takes_paths_prefixes_ranges_and_stars) {
  EXPECT_TRUE(selects("embed", "embed"));
  EXPECT_TRUE(selects("blocks.3", "blocks.3.attn"));
  EXPECT_TRUE(selects("blocks.*", "blocks.3.attn"));
  EXPECT_TRUE(selects("blocks.0-5", "blocks.5.mlp"));
  EXPECT_TRUE(selects("blocks.0-5.mlp", "blocks.0.mlp"));
  EXPECT_TRUE(selects("*", "head"));
  EXPECT_TRUE(selects("part1", "part1.fc1"));
  EXPECT_FALSE(selects("blocks.0-5", "blocks.6.mlp"));
  EXPECT_FALSE(selects("blocks.1", "blocks.10.mlp"));
  EXPECT_FALSE(selects("blocks.0-5.mlp", "blocks.0.attn"));
  EXPECT_FALSE(selects("blocks.*.attn", "blocks"));
  EXPECT_FALSE(selects("blocks.5-0", "blocks.3.mlp"));
  EXPECT_FALSE(selects("", "embed"));
  EXPECT_FALSE(selects("a-b", "a"));
}

TEST(Selection, tells_what_selects_nothing_and_what_may_have_been_meant) {
  std::vector<ErrorInfo> problems;
  std::vector<std::string> const paths{"embed", "blocks.0.attn", "blocks.0.mlp", "head"};
  EXPECT_THAT(select({"head", "blocks.*.mlp"}, paths, "key", problems), ElementsAre(2, 3));
  EXPECT_TRUE(problems.empty());
  EXPECT_THAT(select({"hed", "block.*"}, paths, "memory.recompute_layers", problems), ElementsAre());
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_THAT(problems[0].fix, HasSubstr("\"head\""));
  EXPECT_THAT(problems[1].fix, HasSubstr("\"blocks.*\""));
  EXPECT_THAT(problems[1].subject, HasSubstr("memory.recompute_layers"));
}

TEST(Selection, a_block_is_a_path_up_to_its_first_number) {
  EXPECT_EQ(block_of("blocks.3.attn"), "blocks.3");
  EXPECT_EQ(block_of("part1.fc1"), "part1.fc1");
  EXPECT_EQ(block_of("0"), "0");
  EXPECT_TRUE(is_block("blocks.3.attn"));
  EXPECT_FALSE(is_block("part1.fc1"));
}

/// The slowest stage of the best cut, by trying all of them.
std::int64_t best_of_all(std::vector<LayerCost> const& layers, std::size_t from, int stages) {
  std::int64_t first = 0, best = -1;
  for (std::size_t to = from + 1; to + static_cast<std::size_t>(stages) <= layers.size() + 1; ++to) {
    first += layers[to - 1].cost;
    if (stages == 1 && to < layers.size()) continue;
    auto const slowest = stages == 1 ? first : std::max(first, best_of_all(layers, to, stages - 1));
    if (best < 0 || slowest < best) best = slowest;
  }
  return best;
}

TEST(Stages, the_automatic_cut_has_the_fastest_slowest_stage) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    std::vector<std::int64_t> costs;
    for (std::uint64_t i = 0; i < 4 + seed % 8; ++i) costs.push_back(Philox::word(seed, i, 1, 2) % 12);
    for (int p = 1; p <= 4; ++p) {
      auto const map = assign_stages(plain(costs), {}, p, 1);
      EXPECT_EQ(*std::max_element(map.costs.begin(), map.costs.end()), best_of_all(plain(costs), 0, p));
      EXPECT_TRUE(std::is_sorted(map.stage.begin(), map.stage.end()));
      for (int s = 0; s < p; ++s) EXPECT_EQ(std::count(map.stage.begin(), map.stage.end(), s) > 0, true) << seed;
    }
  }
}

TEST(Stages, the_automatic_cut_counts_embedding_and_head_and_keeps_blocks_whole_where_that_costs_nothing) {
  // 2 + 40 | 60 would be slower than 2 + 50 | 50.
  auto const map = assign_stages(gpt(10, 2, 10, 0), {}, 2, 1);
  EXPECT_THAT(map.costs, ElementsAre(52, 50));
  auto const heavy = assign_stages(gpt(10, 0, 10, 30), {}, 2, 1);
  EXPECT_THAT(heavy.costs, ElementsAre(65, 65));  // a cut between attention and feed-forward
  EXPECT_THAT(assign_stages(gpt(4, 0, 10, 30), {}, 3, 1).costs, ElementsAre(20, 20, 30));
}

TEST(Stages, chunks_take_the_coordinates_in_turns) {
  auto const map = assign_stages(gpt(8, 0, 10, 0), {}, 2, 2);
  EXPECT_THAT(map.at, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(map.costs, ElementsAre(20, 20, 20, 20));
}

TEST(Stages, large_networks_and_costs_are_cut_quickly) {
  auto const layers = gpt(500, 1'000'000'000'000, 4'000'000'000'000'000, 3'000'000'000'000'000);
  auto const map = assign_stages(layers, {}, 64, 2);
  EXPECT_EQ(map.at.size(), 128u);
}

TEST(Stages, counts_are_blocks_and_the_ends_go_with_the_first_and_last_stage) {
  auto const layers = gpt(3);
  auto const map = assign_stages(layers, {.blocks = {2, 1}, .lists = {}}, 2, 1);
  EXPECT_THAT(map.stage, ElementsAre(0, 0, 0, 0, 0, 1, 1, 1, 1));
  EXPECT_THAT(assign_stages(layers, {.blocks = {0, 3}, .lists = {}}, 2, 1).stage,
              ElementsAre(0, 1, 1, 1, 1, 1, 1, 1, 1));
  EXPECT_THAT(assign_stages(layers, {.blocks = {3, 0}, .lists = {}}, 2, 1).stage,
              ElementsAre(0, 0, 0, 0, 0, 0, 0, 1, 1));
  EXPECT_THAT(assign_stages(plain({1, 1, 1}), {.blocks = {1, 2}, .lists = {}}, 2, 1).stage, ElementsAre(0, 1, 1));
  EXPECT_THAT(message(layers, {.blocks = {2, 2}, .lists = {}}, 2),
              AllOf(HasSubstr("3 blocks in"), HasSubstr("[2, 1]")));
  EXPECT_THAT(message(layers, {.blocks = {2, 0, 1}, .lists = {}}, 3),
              HasSubstr("stage 1 of pipeline.stages has no layer"));
}

TEST(Stages, lists_may_return_to_an_earlier_coordinate) {
  auto const layers = gpt(3);
  config::Stages const wanted{.blocks = {},
                              .lists = {{{"embed", "blocks.0-1"}, 0}, {{"blocks.2"}, 1}, {{"final", "head"}, 0}}};
  auto const map = assign_stages(layers, wanted, 2, 1);
  EXPECT_THAT(map.at, ElementsAre(0, 1, 0));
  EXPECT_THAT(map.stage, ElementsAre(0, 0, 0, 0, 0, 1, 1, 2, 2));
  // One list whose layers do not follow each other is as many stages.
  config::Stages const joined{.blocks = {},
                              .lists = {{{"embed", "blocks.0-1", "final", "head"}, 0}, {{"blocks.2"}, 1}}};
  EXPECT_THAT(assign_stages(layers, joined, 2, 1).at, ElementsAre(0, 1, 0));
}

TEST(Stages, lists_work_for_any_network) {
  // A flatten may be named, and goes with what follows it where it is not; counts leave it out.
  std::vector<LayerCost> const flat{{"flatten1", 0, true}, {"fc1", 4}, {"fc2", 4}, {"flatten2", 0, true}};
  config::Stages lists;
  lists.lists = {{{"fc1"}, 0}, {{"fc2"}, 1}};
  EXPECT_THAT(assign_stages(flat, lists, 2, 1).stage, ::testing::ElementsAre(0, 0, 1, 1));
  lists.lists = {{{"flatten1"}, 1}, {{"fc1"}, 0}, {{"fc2"}, 1}};
  EXPECT_THAT(assign_stages(flat, lists, 2, 1).stage, ::testing::ElementsAre(0, 1, 2, 2));
  config::Stages counts;
  counts.blocks = {1, 1};
  EXPECT_THAT(assign_stages(flat, counts, 2, 1).stage, ::testing::ElementsAre(0, 0, 1, 1));

  std::vector<LayerCost> const layers{{"part1.fc1", 4}, {"relu1", 1}, {"part1.fc2", 4}, {"relu2", 1}, {"part2.fc", 2}};
  config::Stages const wanted{.blocks = {}, .lists = {{{"part1", "relu1", "relu2"}, 0}, {{"part2.fc"}, 1}}};
  EXPECT_THAT(assign_stages(layers, wanted, 2, 1).stage, ElementsAre(0, 0, 0, 0, 1));
}

TEST(Stages, all_that_is_wrong_with_lists_is_told_at_once) {
  config::Stages const wanted{.blocks = {}, .lists = {{{"embed", "blocks.0-1"}, 0}, {{"blocks.1-2", "hed"}, 2}}};
  EXPECT_THAT(message(gpt(3), wanted, 2), AllOf(HasSubstr("blocks.1.attn"), HasSubstr("in list 0 and in list 1"),
                                                HasSubstr("did you mean \"head\"?"), HasSubstr("leaves out 2 layers"),
                                                HasSubstr("final, head"), HasSubstr("a pp coordinate, 0 to 1")));
  config::Stages const one{.blocks = {}, .lists = {{{"*"}, 0}}};
  EXPECT_THAT(message(gpt(1), one, 2), HasSubstr("no layers for pp coordinate 1"));
  EXPECT_THAT(message(plain({1, 1}), {}, 3), HasSubstr("fewer layers than pipeline stages"));
}

}  // namespace
}  // namespace lamina::plan
