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

TEST(Resume, accepts_another_mesh_precision_micro_batch_and_length) {
  auto now = some_run();
  now.mesh.dp = 3, now.precision.compute = "bf16", now.batch.micro = 1, now.run.steps = 999, now.parallel.zero = 0;
  EXPECT_TRUE(check_resume(some_run(), now).empty());
}

TEST(Resume, warns_of_another_lr_batch_or_data) {
  auto now = some_run();
  now.optimizer.lr = 1, now.batch.global = 16, now.data.train = {"b.bin"};
  EXPECT_EQ(check_resume(some_run(), now).size(), 3u);
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

}  // namespace
}  // namespace lamina::train
