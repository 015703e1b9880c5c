#include "lamina/train/resume.hpp"

#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace lamina::train {
namespace {

config::RunConfig some_run() {
  config::RunConfig c;
  c.run.dir = "runs/x";
  c.model.kind = "gpt";
  c.model.layers = 4;
  c.data.train = {"a.bin"};
  return c;
}

TEST(Resume, accepts_and_tells_another_mesh_precision_micro_batch_and_length) {
  auto now = some_run();
  now.mesh.dp = 3, now.precision.compute = "bf16", now.batch.micro = 1, now.run.steps = 999;
  auto const changes = check_resume(some_run(), now);
  EXPECT_TRUE(changes.warnings.empty());
  std::vector<std::string> const expected{"run.steps changed from 200 to 999 since the checkpoint",
                                          "mesh.dp changed from 0 to 3 since the checkpoint",
                                          "precision.compute changed from f32 to bf16 since the checkpoint",
                                          "batch.micro changed from 4 to 1 since the checkpoint"};
  EXPECT_EQ(changes.accepted, expected);
}

TEST(Resume, tells_other_stages_splits_and_shares) {
  auto now = some_run();
  now.pipeline.stages.blocks = {3, 1}, now.pipeline.file = "order.txt", now.batch.shares = {2, 1};
  now.parallel.split = {{{"head"}, "none"}}, now.run.determinism = "canonical";
  auto const changes = check_resume(some_run(), now);
  EXPECT_TRUE(changes.warnings.empty());
  std::vector<std::string> const expected{
      "pipeline.stages changed from \"auto\" to [3, 1] since the checkpoint",
      "pipeline.file changed from \"\" to \"order.txt\" since the checkpoint",
      "parallel.split changed from [] to [{ layers = \"head\", dim = \"none\" }] since the checkpoint",
      "batch.shares changed from [] to [2, 1] since the checkpoint",
      "run.determinism changed from \"layout\" to \"canonical\" since the checkpoint"};
  EXPECT_EQ(changes.accepted, expected);
}

TEST(Resume, says_nothing_of_what_stays_or_does_not_matter) {
  auto now = some_run();
  now.log.every_steps = 7, now.checkpoint.keep = 5, now.eval.batches = 1, now.device.threads = 2;
  auto const changes = check_resume(some_run(), now);
  EXPECT_TRUE(changes.accepted.empty());
  EXPECT_TRUE(changes.warnings.empty());
}

TEST(Resume, warns_of_another_optimizer_batch_or_data) {
  auto now = some_run();
  now.optimizer.lr = 1, now.batch.global = 16, now.data.train = {"b.bin"}, now.data.valid = {"v.bin"};
  now.optimizer.beta2 = 0.5, now.lr_schedule.kind = "constant", now.data.normalise = "standard";
  auto const changes = check_resume(some_run(), now);
  EXPECT_TRUE(changes.accepted.empty());
  EXPECT_EQ(changes.warnings.size(), 7u);
}

TEST(Resume, refuses_another_model_tokenizer_optimizer_or_seed_all_at_once) {
  auto now = some_run();
  now.model.layers = 5, now.data.tokenizer = "t.json", now.optimizer.kind = "sgd", now.run.seed = 2;
  auto const error = test::error_of([&] { check_resume(some_run(), now); });
  EXPECT_EQ(exit_code_of(error.code), ExitCode::bad_input);
  for (auto const* key : {"model.layers", "data.tokenizer", "optimizer.kind", "run.seed"}) {
    EXPECT_NE(error.found.find(key), std::string::npos) << key;
  }
}

TEST(Resume, refuses_another_tokenizer_under_the_same_name) {
  auto run = some_run();
  run.data.kind = "text", run.data.tokenizer = "/t.json";
  auto const error = test::error_of([&] { check_resume(run, run, {.before = "aa", .now = "bb"}); });
  EXPECT_EQ(error.code, "train.resume.tokenizer");
  EXPECT_EQ(exit_code_of(error.code), ExitCode::bad_input);
  for (auto const* part : {"/t.json", "bb", "aa"}) {
    EXPECT_NE((error.subject + error.found + error.expected).find(part), std::string::npos) << part;
  }
  EXPECT_TRUE(check_resume(run, run, {.before = "aa", .now = "aa"}).warnings.empty());
  EXPECT_TRUE(check_resume(run, run, {.before = "", .now = "bb"}).warnings.empty());  // of an earlier version
}

}  // namespace
}  // namespace lamina::train
