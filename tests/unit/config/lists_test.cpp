// Keys whose values are lists of layers, stages and splits, and what they must be to each other.
#include "unit/config/config_test.hpp"

namespace lamina {
namespace {

using namespace test;
using ::testing::ElementsAre;

config::RunConfig run_of(std::string const& more) { return config::parse(minimal(more), "run.toml"); }

TEST(Lists, stages_are_automatic_counts_or_lists) {
  EXPECT_TRUE(run_of("").pipeline.stages.automatic());
  EXPECT_TRUE(run_of("[pipeline]\nstages = \"auto\"\n").pipeline.stages.automatic());
  EXPECT_THAT(run_of("[mesh]\npp = 2\n[pipeline]\nstages = [7, 5]\n").pipeline.stages.blocks, ElementsAre(7, 5));
  auto const lists = run_of(
                         "[mesh]\npp = 2\n[pipeline]\nstages = [{ layers = [\"embed\", \"blocks.0-5\"], at = 0 }, "
                         "{ layers = \"blocks.6-11\", at = 1 }, { layers = [\"final\", \"head\"], at = 0 }]\n")
                         .pipeline.stages.lists;
  EXPECT_EQ(lists, (std::vector<config::StageLayers>{
                       {{"embed", "blocks.0-5"}, 0}, {{"blocks.6-11"}, 1}, {{"final", "head"}, 0}}));
}

TEST(Lists, what_is_no_list_of_stages_is_told) {
  auto const of = [](std::string const& value) { return problem_of("pipeline", "stages = " + value); };
  for (std::string const bad : {"[]", "3", "\"automatic\"", "[1.5]", "[-1]", "[[1]]", "[\"embed\"]"}) {
    EXPECT_THAT(of(bad), HasSubstr("\"auto\", blocks per stage")) << bad;
  }
  EXPECT_THAT(of("[1, { layers = \"head\", at = 0 }]"), HasSubstr("not both"));
  EXPECT_THAT(of("[{ layers = \"head\" }]"), HasSubstr("add at"));
  EXPECT_THAT(of("[{ layer = \"head\", at = 0 }]"), HasSubstr("did you mean layers?"));
  EXPECT_THAT(of("[{ layers = [], at = 0 }]"), HasSubstr("pipeline.stages[0].layers"));
  EXPECT_THAT(of("[{ layers = [\"\"], at = 0 }]"), HasSubstr("pipeline.stages[0].layers"));
  EXPECT_THAT(of("[{ layers = \"head\", at = -1 }]"), HasSubstr("a pp coordinate"));
  EXPECT_THAT(of("[{ layers = \"embed\" }, { layer = \"head\", at = 0 }]"),
              ::testing::AllOf(HasSubstr("2 problems"), HasSubstr("add at"), HasSubstr("did you mean layers?")));
}

TEST(Lists, stages_must_fit_the_mesh) {
  EXPECT_THAT(problem_of("pipeline", "stages = [7, 5]"), HasSubstr("1 counts of blocks: mesh.pp"));
  EXPECT_EQ(problem_of("pipeline", "schedule = \"interleaved\"\nchunks = 2\nstages = [7, 5]"), "");
  EXPECT_THAT(problem_of("pipeline", "stages = [{ layers = \"*\", at = 1 }]"), HasSubstr("set mesh.pp = 2"));
  EXPECT_THAT(problem_of("pipeline", "chunks = 2\nstages = [{ layers = \"*\", at = 0 }]"), HasSubstr("remove chunks"));
}

TEST(Lists, a_schedule_file_needs_its_name_and_a_name_its_schedule) {
  EXPECT_THAT(problem_of("pipeline", "schedule = \"file\""), HasSubstr("name the file"));
  EXPECT_THAT(problem_of("pipeline", "file = \"x\""), HasSubstr("write schedule = \"file\""));
  EXPECT_EQ(problem_of("pipeline", "schedule = \"file\"\nfile = \"x\""), "");
  EXPECT_EQ(problem_of("pipeline", "file = \"\""), "");
}

TEST(Lists, splits_name_layers_and_a_dim) {
  auto const c = run_of(
      "[parallel]\nsplit = [{ layers = \"part1.fc\", dim = \"out\" }, { layers = [\"a\", \"b\"], dim = \"none\" }]\n");
  EXPECT_EQ(c.parallel.split, (std::vector<config::LayerSplit>{{{"part1.fc"}, "out"}, {{"a", "b"}, "none"}}));
  EXPECT_THAT(problem_of("parallel", "split = [{ layers = \"a\", dim = \"rows\" }]"),
              HasSubstr("parallel.split[0].dim"));
  EXPECT_THAT(problem_of("parallel", "split = \"a\""), HasSubstr("a list of tables"));
  EXPECT_THAT(problem_of("parallel", "split = [{ layers = 1, dim = \"in\" }]"), HasSubstr("a layer path"));
}

TEST(Lists, recomputed_layers_are_a_text_or_a_list) {
  EXPECT_THAT(run_of("").memory.recompute_layers, ElementsAre("blocks.*"));
  EXPECT_THAT(run_of("[memory]\nrecompute_layers = [\"blocks.0-5\", \"blocks.9\"]\n").memory.recompute_layers,
              ElementsAre("blocks.0-5", "blocks.9"));
  EXPECT_THAT(problem_of("memory", "recompute_layers = []"), HasSubstr("a layer path"));
}

TEST(Lists, values_of_the_command_line_need_no_quotes) {
  auto const c = config::parse(minimal("[mesh]\npp = 2\n"), "run.toml",
                               {"memory.recompute_layers=blocks.0-5", "pipeline.stages=[1, 2]", "batch.shares=[2, 1]"});
  EXPECT_THAT(c.memory.recompute_layers, ElementsAre("blocks.0-5"));
  EXPECT_THAT(c.pipeline.stages.blocks, ElementsAre(1, 2));
  EXPECT_THAT(c.batch.shares, ElementsAre(2, 1));
}

TEST(Shares, divide_the_global_batch_in_whole_micro_batches) {
  auto const samples = [](std::int64_t global, std::int64_t micro, std::vector<std::int64_t> shares, std::int64_t dp) {
    auto c = run_of("");
    c.batch.global = global, c.batch.micro = micro, c.batch.shares = std::move(shares);
    config::resolve(c, dp);
    return config::replica_samples(c);
  };
  EXPECT_THAT(samples(8, 1, {3, 1}, 2), ElementsAre(6, 2));
  EXPECT_THAT(samples(8, 2, {3, 1}, 2), ElementsAre(6, 2));
  EXPECT_THAT(samples(10, 2, {3, 1}, 2), ElementsAre(8, 2));
  EXPECT_THAT(samples(7, 2, {1, 1, 2}, 3), ElementsAre(2, 2, 3));
  EXPECT_THAT(samples(7, 2, {}, 3), ElementsAre(3, 2, 2));
  auto c = run_of("[batch]\nglobal = 10\nmicro = 2\nshares = [3, 1]\n");
  config::resolve(c, 2);
  EXPECT_EQ(config::micro_batches(c), 4);
}

TEST(Shares, that_do_not_fit_are_refused) {
  auto const message = [](std::string const& more, std::int64_t dp) -> std::string {
    auto c = run_of(more);
    try {
      config::resolve(c, dp);
    } catch (Error const& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(message("[batch]\nshares = [3, 1]\n", 3), HasSubstr("give 3 of them"));
  EXPECT_THAT(message("[batch]\nglobal = 4\nmicro = 2\nshares = [9, 1]\n", 2),
              HasSubstr("replica 1 would have no sample"));
  EXPECT_THAT(problem_of("batch", "shares = [3, 0]"), HasSubstr("1 to"));
  EXPECT_THAT(problem_of("batch", "shares = [3, 1]\nper_replica = 2"), HasSubstr("which is what the shares divide"));
  EXPECT_THAT(problems(minimal("[batch]\nshares = [3, 1]\n[parallel]\nzero = 2\n")),
              HasSubstr("set parallel.zero = 1"));
}

}  // namespace
}  // namespace lamina
