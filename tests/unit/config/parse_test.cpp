#include "unit/config/config_test.hpp"

namespace lamina {
namespace {

using namespace test;

TEST(Parse, the_smallest_file_gets_every_default) {
  auto const c = config::parse(minimal(), "run.toml");
  config::RunConfig expected;
  expected.run.dir = "runs/x";
  expected.model.kind = "gpt", expected.model.layers = 2, expected.model.hidden = 12, expected.model.heads = 3;
  expected.data.kind = "text", expected.data.train = {"a.txt"};
  EXPECT_EQ(c, expected);
}

TEST(Parse, reads_every_kind_of_value) {
  auto const c = config::parse(minimal("[optimizer]\nlr = 1\nbetas = [0.5, 0.25]\n[parallel]\nbucket = \"1.5 KiB\"\n"
                                       "[checkpoint]\nevery = \"2 min\"\n[log]\ntrace_steps = []\ntensorboard = false\n"
                                       "[mesh]\ndp = 2\norder = [\"tp\", \"dp\", \"pp\"]\n[memory]\nlimit = \"8GiB\"\n",
                                       "norm = \"post\"\ndropout = 0.1\n"),
                               "run.toml");
  EXPECT_EQ(c.optimizer.lr, 1.0) << "an integer is a fine real";
  EXPECT_EQ(c.optimizer.beta1, 0.5);
  EXPECT_EQ(c.optimizer.beta2, 0.25);
  EXPECT_EQ(c.parallel.bucket, 1536);
  EXPECT_EQ(c.checkpoint.every_seconds, 120);
  EXPECT_TRUE(c.log.trace_steps.empty());
  EXPECT_FALSE(c.log.tensorboard);
  EXPECT_EQ(c.mesh.dp, 2);
  EXPECT_EQ(c.mesh.order, (std::vector<std::string>{"tp", "dp", "pp"}));
  EXPECT_EQ(c.memory.limit, std::int64_t{8} << 30);
  EXPECT_EQ(c.model.norm, "post");
  EXPECT_EQ(c.model.dropout, 0.1);
}

TEST(Parse, auto_stands_for_what_is_resolved_later) {
  auto const c = config::parse(minimal("[mesh]\ndp = \"auto\"\n[lr_schedule]\nmin = \"auto\"\ndecay_steps = \"auto\"\n",
                                       "ff = \"auto\"\nvocab = \"auto\"\n"),
                               "run.toml");
  EXPECT_EQ(c.mesh.dp, 0);
  EXPECT_LT(c.lr_schedule.min, 0);
  EXPECT_EQ(c.lr_schedule.decay_steps, 0);
  EXPECT_EQ(c.model.ff, 0);
  EXPECT_EQ(c.model.vocab, 0);
}

TEST(Parse, all_problems_are_told_at_once_in_the_order_of_the_file) {
  auto const message = problems(
      "[run]\n"
      "dir = \"runs/x\"\n"
      "stesp = 5\n"
      "[model]\n"
      "kind = \"gpt\"\n"
      "layers = \"two\"\n"
      "hidden = 12\n"
      "heads = 5\n"
      "dropout = 1.5\n"
      "[optimzer]\n"
      "lr = 3\n"
      "[data]\n"
      "kind = \"texts\"\n");
  for (auto const* part :
       {"run.toml:3:1: unknown key run.stesp", "did you mean steps?", "run.toml:6:1: model.layers",
        "run.toml:8:1: the heads do not divide the model", "take model.heads from {1, 2, 3, 4, 6, 12}",
        "run.toml:9:1: model.dropout", "run.toml:10:2: unknown section [optimzer]", "did you mean [optimizer]?",
        "data.train is required", "run.toml:13:1: data.kind", "did you mean \"text\"?", "7 problems"}) {
    EXPECT_THAT(message, HasSubstr(part));
  }
  EXPECT_LT(message.find("run.toml:3:1"), message.find("run.toml:6:1"));
  EXPECT_LT(message.find("run.toml:9:1"), message.find("run.toml:13:1"));
}

TEST(Parse, a_wrong_type_shows_what_was_found_and_how_to_write_it) {
  EXPECT_THAT(problem_of("batch", "global = \"8\""), AllOf(HasSubstr("config.batch.type"), HasSubstr("found:    \"8\""),
                                                           HasSubstr("an integer, 1 to"), HasSubstr("global = 8")));
  EXPECT_THAT(problem_of("run", "steps = 1e3"), HasSubstr("write 1000, without point"));
  EXPECT_THAT(problem_of("run", "steps = 1.5"), HasSubstr("config.run.type"));
  EXPECT_THAT(problem_of("model", "tied = \"yes\""), HasSubstr("true or false"));
  EXPECT_THAT(problem_of("model", "tied = 1"), HasSubstr("true or false"));
  EXPECT_THAT(problem_of("optimizer", "lr = true"), HasSubstr("config.optimizer.type"));
  EXPECT_THAT(problem_of("optimizer", "lr = {}"), HasSubstr("a table"));
  EXPECT_THAT(problem_of("optimizer", "lr = 1979-05-27"), HasSubstr("a date or time"));
  EXPECT_THAT(problem_of("optimizer", "betas = [0.9]"), HasSubstr("a list of two numbers"));
  EXPECT_THAT(problem_of("optimizer", "betas = [0.9, \"x\"]"), HasSubstr("config.optimizer.type"));
  EXPECT_THAT(problem_of("data", "valid = \"b.txt\""), HasSubstr("write a list: valid = [\"b.txt\"]"));
  EXPECT_THAT(problem_of("data", "valid = [1]"), HasSubstr("config.data.type"));
  EXPECT_THAT(problem_of("log", "trace_steps = [2.5, 1]"), HasSubstr("config.log.type"));
  EXPECT_THAT(problem_of("model", "norm = 3"), HasSubstr("one of \"pre\", \"post\""));
}

TEST(Parse, a_value_out_of_range_names_the_range) {
  EXPECT_THAT(problem_of("model", "dropout = 1.0"), HasSubstr("a number, 0.0 to below 1.0"));
  EXPECT_THAT(problem_of("model", "dropout = -0.1"), HasSubstr("config.model.range"));
  EXPECT_THAT(problem_of("model", "dropout = nan"), HasSubstr("config.model.range"));
  EXPECT_THAT(problem_of("batch", "micro = 0"), HasSubstr("an integer, 1 to"));
  EXPECT_THAT(problem_of("batch", "micro = -9223372036854775808"), HasSubstr("config.batch.range"));
  EXPECT_THAT(problem_of("optimizer", "lr = inf"), HasSubstr("config.optimizer.range"));
  EXPECT_THAT(problem_of("parallel", "zero = 4"), HasSubstr("an integer, 0 to 3"));
  EXPECT_THAT(problem_of("log", "trace_steps = [0]"), HasSubstr("config.log.range"));
  EXPECT_THAT(problem_of("run", "seed = -1"), HasSubstr("config.run.range"));
}

TEST(Parse, what_the_optimizer_cannot_compute_with_is_refused_where_it_stands) {
  for (auto const& [section, line] :
       std::vector<std::pair<std::string, std::string>>{{"optimizer", "eps = 0"},
                                                        {"optimizer", "eps = -1e-8"},
                                                        {"optimizer", "eps = 1e-46"},  // zero in f32
                                                        {"optimizer", "lr = -1e-3"},
                                                        {"optimizer", "betas = [0.9, 1.0]"},
                                                        {"optimizer", "betas = [-0.1, 0.9]"},
                                                        {"optimizer", "betas = [nan, 0.9]"},
                                                        {"optimizer", "momentum = 1"},
                                                        {"optimizer", "momentum = -0.5"},
                                                        {"optimizer", "weight_decay = -0.1"},
                                                        {"optimizer", "clip_norm = -1"},
                                                        {"optimizer", "clip_norm = nan"},
                                                        {"lr_schedule", "min = -1"},
                                                        {"lr_schedule", "warmup_steps = -1"},
                                                        {"lr_schedule", "decay_steps = 0"}}) {
    EXPECT_THAT(problem_of(section, line),
                AllOf(HasSubstr("run.toml:12:1: " + section), HasSubstr("config." + section + ".range")))
        << line;
  }
  EXPECT_THAT(problem_of("optimizer", "eps = 0"), HasSubstr("a number, 1e-30 to 1.0"));
  EXPECT_EQ(problem_of("optimizer", "lr = 0\nclip_norm = 0\nweight_decay = 0\nbetas = [0, 0]\nmomentum = 0"), "");
}

TEST(Parse, units_are_wanted_and_typos_in_them_are_explained) {
  EXPECT_THAT(problem_of("checkpoint", "every = 30"), HasSubstr("every = \"0 s\""));
  EXPECT_THAT(problem_of("checkpoint", "every = \"30\""), HasSubstr("add the unit"));
  EXPECT_THAT(problem_of("checkpoint", "every = \"30 sec\""), HasSubstr("did you mean 's'?"));
  EXPECT_THAT(problem_of("parallel", "bucket = \"25 mib\""), HasSubstr("did you mean 'MiB'?"));
  EXPECT_THAT(problem_of("parallel", "bucket = 25"), HasSubstr("bucket = \"25 MiB\""));
  EXPECT_THAT(problem_of("parallel", "bucket = \"0 B\""), HasSubstr("config.parallel.range"));
  EXPECT_THAT(problem_of("checkpoint", "every = \"half an hour\""), HasSubstr("config.checkpoint.unit"));
}

TEST(Parse, what_cannot_be_had_yet_says_so) {
  for (auto const& [section, line] : std::vector<std::pair<std::string, std::string>>{
           {"parallel", "transport = \"shm\""},
           {"parallel", "transport = \"nccl\""},
           {"placement", "default = \"gpu\""},
           {"placement", "rules = [{ layers = \"blocks.*\", device = \"gpu\" }]"},
           {"guard", "policy = \"rollback\""},
           {"guard", "spike_factor = 3"},
           {"guard", "replica_hash_every_steps = 100"},
           {"watchdog", "report = \"30 s\""},
           {"watchdog", "abort = \"10 min\""}}) {
    EXPECT_THAT(problem_of(section, line), AllOf(HasSubstr("not available yet"), HasSubstr("not_yet"),
                                                 HasSubstr("for now"), ContainsRegex("run.toml:[0-9]+:1: ")))
        << line;
  }
}

TEST(Parse, the_defaults_of_what_cannot_be_had_yet_are_accepted) {
  EXPECT_EQ(
      problems(minimal("[mesh]\ntp = 1\npp = 1\n[parallel]\nzero = 0\nsplit = []\ntransport = \"mpi\"\n[pipeline]\n"
                       "schedule = \"1f1b\"\nfile = \"\"\nchunks = 1\nstages = \"auto\"\n[placement]\nrules = []\n"
                       "default = \"cpu\"\n[memory]\nrecompute = \"none\"\nrecompute_layers = \"blocks.*\"\n[guard]\n"
                       "spike_factor = 0\nreplica_hash_every_steps = 0\n[log]\ntrace_steps = []\n[checkpoint]\n"
                       "async = true\n[watchdog]\nreport = \"0 s\"\nabort = \"0 s\"\n")),
      "");
  EXPECT_EQ(problem_of("run", "determinism = \"fast\""), "");
  EXPECT_EQ(problem_of("run", "determinism = \"canonical\""), "");
  EXPECT_EQ(problem_of("log", "trace_steps = [3, 4]"), "");
}

TEST(Parse, values_that_contradict_each_other_are_refused) {
  EXPECT_THAT(problem_of("batch", "global = 8\nper_replica = 2"), HasSubstr("exclude each other"));
  EXPECT_THAT(problem_of("batch", "global = \"auto\""), HasSubstr("needs batch.per_replica"));
  EXPECT_EQ(problem_of("batch", "per_replica = 2"), "");
  EXPECT_THAT(problem_of("data", "valid = [\"b\"]\nvalid_fraction = 0.1"), HasSubstr("exclude each other"));
  EXPECT_THAT(
      problem_of("lr_schedule", "warmup_steps = 201"),
      AllOf(HasSubstr("run.toml:12:1: the warm-up ends after"), HasSubstr("warmup_steps = 201, run.steps = 200"),
            HasSubstr("warmup_steps <= run.steps, where"), HasSubstr("take warmup_steps = 20, or raise run.steps")));
  EXPECT_THAT(
      problem_of("lr_schedule", "warmup_steps = 9\ndecay_steps = 8"),
      AllOf(HasSubstr("warmup_steps <= decay_steps\n"), HasSubstr("take warmup_steps = 1, or raise decay_steps")));
  EXPECT_EQ(problem_of("lr_schedule", "warmup_steps = 200"), "");
  EXPECT_EQ(problem_of("lr_schedule", "kind = \"constant\"\nwarmup_steps = 201"), "");
  EXPECT_THAT(problem_of("lr_schedule", "min = 1.0"), HasSubstr("lr_schedule.min <= optimizer.lr"));
  EXPECT_THAT(problem_of("mesh", "order = [\"pp\", \"dp\"]"), HasSubstr("each of"));
}

TEST(Parse, a_gpt_needs_its_sizes_unless_weights_bring_them) {
  std::string const bare = "[run]\ndir = \"x\"\n[model]\nkind = \"gpt\"\n[data]\nkind = \"text\"\ntrain = [\"a\"]\n";
  EXPECT_THAT(problems(bare), AllOf(HasSubstr("model.layers is required"), HasSubstr("model.hidden is required"),
                                    HasSubstr("model.heads is required"), HasSubstr("3 problems")));
  EXPECT_EQ(problems(bare, {"model.init=gpt2"}), "");
  EXPECT_THAT(problems(""), AllOf(HasSubstr("run.dir is required"), HasSubstr("model.kind is required"),
                                  HasSubstr("data.kind is required"), HasSubstr("data.train is required")));
}

TEST(Override, wins_over_the_file_and_over_earlier_ones) {
  auto const c = config::parse(minimal("[optimizer]\nlr = \"broken\"\n"), "run.toml",
                               {"optimizer.lr=1e-3", "run.steps=10", "run.steps=20", "optimizer.lr=2e-3"});
  EXPECT_EQ(c.optimizer.lr, 2e-3);
  EXPECT_EQ(c.run.steps, 20);
}

TEST(Override, takes_bare_words_as_text) {
  auto const c = config::parse(
      minimal(), "run.toml",
      {"run.dir=123", "model.norm=post", "parallel.bucket=64MiB", "checkpoint.every=5 s", "data.train=b.txt",
       "data.valid=[\"c\", \"d\"]", "mesh.dp=auto", "model.init=\"a b\"", "model.tied=false", " checkpoint.keep = 3 "});
  EXPECT_EQ(c.run.dir, "123");
  EXPECT_EQ(c.model.norm, "post");
  EXPECT_EQ(c.parallel.bucket, 64 << 20);
  EXPECT_EQ(c.checkpoint.every_seconds, 5);
  EXPECT_EQ(c.data.train, std::vector<std::string>{"b.txt"});
  EXPECT_EQ(c.data.valid, (std::vector<std::string>{"c", "d"}));
  EXPECT_EQ(c.model.init, "a b");
  EXPECT_FALSE(c.model.tied);
  EXPECT_EQ(c.checkpoint.keep, 3);
}

TEST(Override, problems_name_the_argument) {
  auto const set = [](std::string const& s) { return problems(minimal(), {s}); };
  EXPECT_THAT(set("run.stesp=3"), AllOf(HasSubstr("--set run.stesp=3: unknown key"), HasSubstr("did you mean steps?")));
  EXPECT_THAT(set("run.steps=ten"), HasSubstr("--set run.steps=ten: run.steps"));
  EXPECT_THAT(set("optimzer.lr=1"), HasSubstr("optimizer.lr"));
  for (auto const* s : {"run.steps", "steps=3", ".steps=3", "run.=3", "", "="}) {
    EXPECT_THAT(set(s), HasSubstr("config.set.syntax")) << s;
  }
  EXPECT_THAT(set("run.dir=\xff\xfe"), HasSubstr("config.set.syntax"));
  EXPECT_THAT(set("run.dir="), HasSubstr("config.run.empty"));
  EXPECT_THAT(set("run.seed=1\n[evil]\nx = 2"), HasSubstr("config.run.type")) << "one argument sets one key";
}

TEST(CustomModel, declares_keys_with_default_and_range) {
  std::vector<config::CustomModel> const custom{
      {.kind = "mlp",
       .keys = {{.name = "width", .default_value = std::int64_t{64}, .min = 1, .max = 1024, .help = "hidden units"},
                {.name = "slope", .default_value = 0.5, .min = 0, .max = 1, .help = "of the leaky relu"},
                {.name = "flavour", .default_value = std::string("plain"), .help = "taste"}}}};
  auto const file = [](std::string const& keys) {
    return "[run]\ndir = \"x\"\n[model]\nkind = \"mlp\"\n" + keys + "[data]\nkind = \"text\"\ntrain = [\"a\"]\n";
  };
  auto const c = config::parse(file("width = 7\n"), "run.toml", {}, custom);
  EXPECT_EQ(c.model.custom.integer("width"), 7);
  EXPECT_EQ(c.model.custom.real("slope"), 0.5);
  EXPECT_EQ(c.model.custom.string("flavour"), "plain");
  EXPECT_EQ(config::parse(config::print(c, custom), "again", {}, custom), c);
  EXPECT_THAT(
      problems(file("width = 0\nslope = \"x\"\nflavour = 3\nwidht = 3\n"), {}, custom),
      AllOf(HasSubstr("4 problems"), HasSubstr("a number from 1.0 to 1024.0"), HasSubstr("did you mean width?")));
  EXPECT_THAT(problems(file("")), HasSubstr("one of \"gpt\"")) << "not registered, so not known";
  EXPECT_THAT(problem_of("model", "width = 3"), HasSubstr("unknown key model.width")) << "a key of another kind";
}

TEST(CustomModel, may_not_take_a_name_that_model_has) {
  EXPECT_THAT(problems(minimal(), {}, {{.kind = "m", .keys = {{.name = "heads", .default_value = 1.0, .help = ""}}}}),
              HasSubstr("config.model.registered"));
}

}  // namespace
}  // namespace lamina
