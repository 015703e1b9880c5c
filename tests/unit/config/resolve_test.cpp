#include "unit/config/config_test.hpp"

namespace lamina {
namespace {

using namespace test;

config::RunConfig sample(std::string const& more = "") { return config::parse(minimal(more), "run.toml"); }

std::string resolve_problem(config::RunConfig c, std::int64_t world) {
  try {
    config::resolve(c, world);
  } catch (Error const& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    return e.what();
  }
  return "";
}

TEST(Resolve, fills_what_follows_from_other_values) {
  auto c = sample("[optimizer]\nlr = 0.5\n");
  config::resolve(c, 4);
  EXPECT_EQ(c.mesh.dp, 4);
  EXPECT_EQ(c.model.ff, 48);
  EXPECT_EQ(c.lr_schedule.decay_steps, 200);
  EXPECT_EQ(c.lr_schedule.min, 0.05);
  auto const once = c;
  config::resolve(c, 4);
  EXPECT_EQ(c, once) << "resolving again changes nothing";
}

TEST(Resolve, a_context_that_weights_may_bring_is_automatic_until_then) {
  auto const weights = config::parse(minimal("", "init = \"gpt2\"\n"), "run.toml");
  EXPECT_EQ(weights.model.context, 0);
  auto c = weights;
  config::resolve(c, 1);
  EXPECT_EQ(c.model.context, 1024);
  EXPECT_EQ(config::parse(minimal("", "init = \"gpt2\"\ncontext = 64\n"), "run.toml").model.context, 64);
  EXPECT_EQ(sample().model.context, 1024);
}

TEST(Resolve, leaves_what_was_given) {
  auto c = config::parse(minimal("[lr_schedule]\nmin = 0\ndecay_steps = 50\n", "ff = 5\n"), "run.toml");
  config::resolve(c, 1);
  EXPECT_EQ(c.model.ff, 5);
  EXPECT_EQ(c.lr_schedule.decay_steps, 50);
  EXPECT_EQ(c.lr_schedule.min, 0);
}

TEST(Resolve, samples_per_replica_become_a_global_batch) {
  auto c = sample("[batch]\nper_replica = 3\n");
  config::resolve(c, 5);
  EXPECT_EQ(c.batch.global, 15);
  EXPECT_EQ(c.batch.per_replica, 0);
}

TEST(Resolve, a_mesh_that_does_not_fit_lists_those_that_do) {
  EXPECT_THAT(resolve_problem(sample("[mesh]\ndp = 2\n"), 3),
              AllOf(HasSubstr("does not fit 3 ranks"), HasSubstr("mesh.dp = 2"), HasSubstr("start 2 ranks"),
                    HasSubstr("dp = 3, tp = 1, pp = 1")));
  EXPECT_EQ(resolve_problem(sample("[mesh]\ndp = 3\n"), 3), "");
  auto c = sample();
  c.mesh.tp = 4;
  EXPECT_THAT(resolve_problem(c, 6), AllOf(HasSubstr("mesh.dp = \"auto\""), HasSubstr("start a multiple of 4 ranks")));
  EXPECT_THAT(resolve_problem(sample(), 0), HasSubstr("config.mesh.world"));
}

TEST(Resolve, every_replica_needs_a_sample) {
  EXPECT_THAT(resolve_problem(sample(), 9),
              AllOf(HasSubstr("batch.global >= mesh.dp"), HasSubstr("start at most 8 ranks")));
  EXPECT_EQ(resolve_problem(sample(), 8), "");
  auto c = sample();
  config::resolve(c, 9, config::Work::evaluation);
  EXPECT_EQ(c.mesh.dp, 9) << "an evaluation shares out the validation set, not the batch";
  auto const evaluated_on = [](std::int64_t tp, std::int64_t pp, std::int64_t ranks) {
    auto wanted = sample();
    wanted.mesh.dp = 0, wanted.mesh.tp = tp, wanted.mesh.pp = pp;
    wanted.pipeline.schedule = "gpipe";
    config::resolve(wanted, ranks, config::Work::evaluation);
    EXPECT_EQ(wanted.pipeline.schedule == "gpipe", wanted.mesh.pp == pp);
    return std::vector{wanted.mesh.dp, wanted.mesh.tp, wanted.mesh.pp};
  };
  EXPECT_THAT(evaluated_on(2, 2, 8), ::testing::ElementsAre(2, 2, 2));
  EXPECT_THAT(evaluated_on(4, 2, 4), ::testing::ElementsAre(1, 4, 1)) << "tensor parallelism is kept where it fits";
  EXPECT_THAT(evaluated_on(2, 3, 4), ::testing::ElementsAre(2, 2, 1));
  EXPECT_THAT(evaluated_on(2, 2, 3), ::testing::ElementsAre(3, 1, 1));
  EXPECT_EQ(resolve_problem(sample(), 3), "") << "a batch need not divide by the replicas";
}

TEST(Resolve, sizes_that_weights_should_have_brought_are_missed_here) {
  auto const c = config::parse(
      "[run]\ndir = \"x\"\n[model]\nkind = \"gpt\"\ninit = \"gpt2\"\n[data]\nkind = \"text\"\ntrain = [\"a\"]\n",
      "run.toml");
  EXPECT_THAT(resolve_problem(c, 1), HasSubstr("config.model.sizes"));
}

TEST(MicroBatches, are_counted_for_the_largest_replica) {
  auto const count = [](std::int64_t global, std::int64_t dp, std::int64_t micro) {
    config::RunConfig c;
    c.batch.global = global, c.mesh.dp = dp, c.batch.micro = micro;
    return config::micro_batches(c);
  };
  EXPECT_EQ(count(8, 1, 4), 2);
  EXPECT_EQ(count(8, 2, 4), 1);
  EXPECT_EQ(count(8, 3, 1), 3) << "3 + 3 + 2 samples";
  EXPECT_EQ(count(7, 2, 3), 2) << "4 + 3 samples";
  EXPECT_EQ(count(1, 1, 64), 1);
  EXPECT_THROW(count(8, 0, 4), Error) << "not resolved";
}

}  // namespace
}  // namespace lamina
