#include "config/detail/foreign.hpp"

#include "config/detail/keys.hpp"
#include "unit/config/config_test.hpp"

namespace lamina {
namespace {

using namespace test;

struct Row {
  char const *section, *word, *key;
};

class Foreign : public ::testing::TestWithParam<Row> {};

TEST_P(Foreign, word_is_explained) {
  auto const [section, word, key] = GetParam();
  auto const message = *section ? problem_of(section, text(word, " = 1")) : problems(text(word, " = 1\n") + minimal());
  EXPECT_THAT(message, HasSubstr(text("here it is ", key, " ("))) << section << ' ' << word;
}

INSTANTIATE_TEST_SUITE_P(
    systems, Foreign,
    ::testing::Values(
        Row{"model", "n_layer", "model.layers"}, Row{"model", "n_head", "model.heads"},
        Row{"model", "n_embd", "model.hidden"}, Row{"model", "block_size", "model.context"},
        Row{"model", "num_layers", "model.layers"}, Row{"model", "hidden_size", "model.hidden"},
        Row{"model", "seq_length", "model.context"}, Row{"model", "ffn-hidden-size", "model.ff"},
        Row{"run", "max_iters", "run.steps"}, Row{"run", "num_train_epochs", "run.steps"},
        Row{"lr_schedule", "warmup_iters", "lr_schedule.warmup_steps"},
        Row{"optimizer", "grad_clip", "optimizer.clip_norm"}, Row{"optimizer", "learning_rate", "optimizer.lr"},
        Row{"optimizer", "beta2", "optimizer.betas"}, Row{"batch", "gradient_accumulation_steps", "batch.micro"},
        Row{"batch", "train_micro_batch_size_per_gpu", "batch.micro"}, Row{"batch", "batch_size", "batch.global"},
        Row{"", "batch_size", "batch.global"}, Row{"mesh", "tensor-model-parallel-size", "mesh.tp"},
        Row{"mesh", "pipeline-model-parallel-size", "mesh.pp"}, Row{"", "world_size", "mesh.dp"},
        Row{"", "activation_checkpointing", "memory.recompute"},
        Row{"memory", "gradient_checkpointing", "memory.recompute"}, Row{"zero_optimization", "stage", "parallel.zero"},
        Row{"zero_optimization", "reduce_bucket_size", "parallel.bucket"},
        Row{"", "zero_optimization.stage", "parallel.zero"}, Row{"eval", "interval", "eval.every_steps"},
        Row{"log", "interval", "log.every_steps"}, Row{"", "--Micro-Batch-Size", "batch.micro"}));

TEST(ForeignTable, leads_to_keys_that_exist) {
  for (auto const* word : {"n_layer", "bias", "num_workers", "epochs", "fp16", "split_spec", "save_steps", "wandb"}) {
    ASSERT_NE(config::detail::find_foreign("", word), nullptr) << word;
  }
  EXPECT_EQ(config::detail::find_foreign("", "xyzzy"), nullptr);
  EXPECT_EQ(config::detail::find_foreign("", ""), nullptr);
  for (auto const& row : config::detail::all_foreign()) {
    if (row.key.empty()) {
      EXPECT_FALSE(row.advice.empty()) << row.words;
      continue;
    }
    auto const dot = row.key.find('.');
    EXPECT_NE(config::detail::find_key(row.key.substr(0, dot), row.key.substr(dot + 1)), nullptr) << row.key;
  }
}

TEST(ForeignTable, no_word_has_two_meanings) {
  std::vector<std::string> words;
  for (auto const& row : config::detail::all_foreign()) {
    for (auto const& word : split(row.words, ' ')) words.push_back(word);
  }
  std::sort(words.begin(), words.end());
  EXPECT_EQ(std::adjacent_find(words.begin(), words.end()), words.end());
}

TEST(Unknown, keys_of_other_sections_are_recognised) {
  EXPECT_THAT(problem_of("model", "lr = 1"), HasSubstr("it belongs to another section: optimizer.lr"));
  EXPECT_THAT(problems("steps = 3\n" + minimal()), HasSubstr("it belongs to another section: run.steps"));
  EXPECT_THAT(problem_of("model", "warmup_step = 1"), HasSubstr("did you mean lr_schedule.warmup_steps?"));
  EXPECT_THAT(problem_of("model", "xyzzy = 1"), AllOf(HasSubstr("remove it"), HasSubstr("one of kind, layers")));
}

TEST(Unknown, sections_are_recognised_or_their_keys_are) {
  EXPECT_THAT(problem_of("optimiser", "learning_rate = 1\nfoo = 2"),
              AllOf(HasSubstr("did you mean [optimizer]?"), Not(HasSubstr("problems"))));
  EXPECT_THAT(problem_of("xyzzy", "learning_rate = 1"),
              AllOf(HasSubstr("unknown section [xyzzy]"), HasSubstr("optimizer.lr")));
  EXPECT_THAT(problem_of("fsdp", ""), HasSubstr("parallel.zero"));
}

}  // namespace
}  // namespace lamina
