#include <gtest/gtest.h>

#include "lamina/base/text.hpp"
#include "lamina/train/session.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::train {
namespace {

class CompleteModel : public ::testing::Test {
 protected:
  void write_config(std::string const& more = "") {
    test::write_file(
        dir_ / "config.json",
        R"({"model_type":"gpt2","n_layer":2,"n_embd":8,"n_head":2,"n_positions":6,"vocab_size":11)" + more + "}");
  }
  /// @param model lines of [model] below line 5, which is `init`.
  config::Model completed(std::string const& model, std::string const& file = "") {
    auto const init = file.empty() ? dir_.path() : dir_ / file;
    auto config = config::parse(text("[run]\ndir = \"r\"\n[model]\nkind = \"gpt\"\ninit = \"", init, "\"\n", model,
                                     "\n[data]\nkind = \"tokens\"\ntrain = [\"x\"]\n"),
                                "run.toml");
    complete_model(config);
    config::resolve(config, 1);
    return config.model;
  }
  ErrorInfo refusal(std::string const& model, std::string const& file = "") {
    auto const error = test::error_of([&] { completed(model, file); });
    EXPECT_EQ(error.code, "models.gpt.init") << model;
    EXPECT_EQ(exit_code_of(error.code), ExitCode::usage);
    return error;
  }

  test::TemporaryDirectory dir_;
};

TEST_F(CompleteModel, takes_from_the_weights_what_the_run_file_leaves_open) {
  write_config(R"(,"tie_word_embeddings":false,"n_inner":20)");
  auto const model = completed("");
  EXPECT_EQ((std::vector{model.layers, model.hidden, model.heads, model.context, model.vocab, model.ff}),
            (std::vector<std::int64_t>{2, 8, 2, 6, 11, 20}));
  EXPECT_FALSE(model.tied);
}

TEST_F(CompleteModel, lets_the_run_file_say_the_same_and_a_shorter_context) {
  write_config(R"(,"tie_word_embeddings":false)");
  auto const model = completed(
      "tied = false\nlayers = 2\nhidden = 8\nheads = 2\ncontext = 4\nvocab = 11\nff = 32\nnorm = \"pre\"\n"
      "activation = \"gelu\"\ncausal = true\npositions = \"learned\"\nhead_bias = false\ndropout = 0.1");
  EXPECT_EQ(model.context, 4);
  write_config();
  EXPECT_TRUE(completed("tied = true").tied);
  EXPECT_TRUE(completed("").tied);
}

TEST_F(CompleteModel, refuses_what_contradicts_the_weights_with_its_line) {
  write_config(R"(,"tie_word_embeddings":false)");
  for (auto const* line :
       {"tied = true", "norm = \"post\"", "activation = \"relu\"", "causal = false", "positions = \"none\"",
        "head_bias = true", "layers = 3", "hidden = 16", "vocab = 12", "ff = 8", "context = 7"}) {
    auto const error = refusal(line);
    EXPECT_TRUE(error.subject.starts_with("run.toml:6:")) << error.subject;
    EXPECT_EQ(error.found, line);
    EXPECT_NE(error.fix.find("leave model."), std::string::npos);
  }
  write_config();
  auto const tied = refusal("tied = false");
  EXPECT_NE(tied.expected.find(dir_ / "config.json"), std::string::npos) << tied.expected;
}

TEST_F(CompleteModel, refuses_all_contradictions_at_once) {
  write_config();
  auto const error = refusal("tied = false\nactivation = \"relu\"\nnorm = \"post\"");
  for (auto const* place : {"run.toml:6:", "run.toml:7:", "run.toml:8:"}) {
    EXPECT_NE((error.subject + error.found).find(place), std::string::npos) << place;
  }
}

TEST_F(CompleteModel, reads_the_config_beside_a_file_of_weights_too) {
  write_config();
  EXPECT_EQ(completed("", "model.safetensors").layers, 2);
  refusal("activation = \"relu\"", "model.safetensors");
}

TEST_F(CompleteModel, refuses_activations_and_models_that_it_does_not_have) {
  for (auto const* activation : {"gelu", "relu", "silu", "tanh"}) {
    write_config(text(R"(,"activation_function":")", activation, '"'));
    auto const error = test::error_of([&] { completed(""); });
    EXPECT_EQ(error.code, "checkpoint.hugging_face.activation");
    EXPECT_NE(error.found.find(activation), std::string::npos);
  }
  for (auto const* activation : {"gelu_new", "gelu_pytorch_tanh"}) {
    write_config(text(R"(,"activation_function":")", activation, '"'));
    EXPECT_EQ(completed("").activation, "gelu");
  }
}

}  // namespace
}  // namespace lamina::train
