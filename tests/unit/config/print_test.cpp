#include "config/detail/keys.hpp"
#include "unit/config/config_test.hpp"

namespace lamina {
namespace {

using namespace test;

config::RunConfig again(config::RunConfig const& c) { return config::parse(config::print(c), "printed"); }

TEST(Print, reads_back_to_the_same_run) {
  auto const c = config::parse(minimal(), "run.toml");
  EXPECT_EQ(again(c), c);
  EXPECT_EQ(config::print(again(c)), config::print(c));
}

TEST(Print, reads_back_after_resolving_too) {
  for (std::string const batch : {"[batch]\nglobal = 7\n", "[batch]\nper_replica = 3\n"}) {
    auto c = config::parse(minimal(batch), "run.toml");
    EXPECT_EQ(again(c), c) << batch;
    config::resolve(c, 5);
    EXPECT_EQ(again(c), c) << batch;
  }
}

TEST(Print, writes_every_key_in_the_order_of_the_table) {
  auto const printed = config::print(config::parse(minimal(), "run.toml"));
  std::size_t at = 0;
  for (auto const& key : config::detail::all_keys()) {
    auto const here = printed.find(text('\n', key.name, " = "), at);
    ASSERT_NE(here, printed.npos) << key.section << '.' << key.name;
    at = here;
  }
  EXPECT_THAT(
      printed,
      HasSubstr("\n[lr_schedule]\nkind = \"cosine\"\nwarmup_steps = 0\ndecay_steps = \"auto\"\nmin = \"auto\"\n"));
  EXPECT_THAT(printed, HasSubstr("bucket = \"25 MiB\"\n"));
  EXPECT_THAT(printed, HasSubstr("abort = \"0 s\"\n"));
  EXPECT_THAT(printed, HasSubstr("zero = 1\n"));
}

TEST(Print, every_value_that_a_key_takes_reads_back) {
  auto c = config::parse(minimal(), "run.toml");
  c.run.dir = "odd \"quotes\" \\ back\tslash \x01 \xc3\xa4 # = [";
  c.run.seed = 8'999'999'999'999'999;
  c.data.train = {"a b.txt", "\"", "c\\d", "{"};
  c.optimizer.lr = 1.0 / 3;
  c.optimizer.eps = 1e-17;
  c.optimizer.beta1 = 0.1 + 0.2;
  c.parallel.bucket = 12345;
  c.memory.limit = std::int64_t{3} << 33;
  c.checkpoint.every_seconds = 0.1;
  c.watchdog.abort_seconds = 0;
  c.model.tied = false;
  c.mesh.order = {"tp", "pp", "dp"};
  c.lr_schedule.min = 0;
  c.batch.shares = {3, 1};
  c.parallel.split = {{{"part1.fc"}, "out"}, {{"blocks.*", "head"}, "none"}};
  c.pipeline.schedule = "file", c.pipeline.file = "my.schedule";
  c.mesh.pp = 2;
  c.memory.recompute = "full", c.memory.recompute_layers = {"blocks.0-5", "final"};
  for (auto const& stages : {config::Stages{{7, 5}, {}}, {{}, {{{"embed", "blocks.0-5"}, 0}, {{"head"}, 1}}}, {}}) {
    c.pipeline.stages = stages;
    EXPECT_EQ(again(c), c);
  }
}

TEST(Print, the_table_is_sound) {
  config::RunConfig defaults;
  for (auto const& key : config::detail::all_keys()) {
    auto const where = text(key.section, '.', key.name);
    EXPECT_EQ(config::detail::find_key(key.section, key.name), &key) << where << " occurs twice";
    EXPECT_EQ(key.kind == config::detail::Kind::fixed, key.field == nullptr) << where;
    EXPECT_EQ(key.kind == config::detail::Kind::fixed, !key.limits.fixed.empty()) << where;
    EXPECT_EQ(key.kind == config::detail::Kind::choice, !key.limits.choices.empty()) << where;
    EXPECT_FALSE(key.help.empty()) << where;
    EXPECT_LE(key.help.size(), 100u) << where;
    EXPECT_LE(key.limits.min, key.limits.max) << where;
    for (auto const& word : config::detail::words_of(key.limits.not_yet)) {
      EXPECT_THAT(config::detail::words_of(key.limits.choices), ::testing::Contains(word)) << where;
    }
    EXPECT_EQ(config::detail::to_toml(key, defaults).empty(),
              key.limits.required && key.kind != config::detail::Kind::texts)
        << where;
  }
}

}  // namespace
}  // namespace lamina
