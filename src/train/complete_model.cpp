#include <filesystem>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/safetensors.hpp"
#include "lamina/data/tokenizer.hpp"
#include "lamina/train/session.hpp"

namespace lamina::train {
namespace {

/// Compares what the run file says of the model with the weights it starts from, and fills what it leaves open.
class Weights {
 public:
  Weights(config::RunConfig& config, std::string folder) : config_(config), file_(std::move(folder) + "/config.json") {}

  template <class T>
  void take(char const* key, T& value, T const& from, bool open) {
    if (value == from) return;
    if (open) {
      value = from;
    } else {
      refuse(key, shown(value), text(shown(from), ", as ", file_, " says"));
    }
  }
  /// What every GPT-2 of Hugging Face is, without config.json saying so.
  template <class T>
  void require(char const* key, T const& value, T const& always) {
    if (value != always) refuse(key, shown(value), text(shown(always), ", as every GPT-2 of Hugging Face has it"));
  }
  bool given(char const* key) const { return config_.given.contains(text("model.", key)); }
  void fail_if_any() const { lamina::fail_if_any(problems_); }

 private:
  static std::string shown(bool b) { return b ? "true" : "false"; }
  static std::string shown(std::int64_t i) { return text(i); }
  static std::string shown(std::string const& s) { return text('"', s, '"'); }

  void refuse(char const* key, std::string const& found, std::string expected) {
    auto const at = config_.given.find(text("model.", key));
    problems_.push_back({.code = "models.gpt.init",
                         .subject = text(at == config_.given.end() ? "" : at->second + ": ", "model.", key,
                                         " contradicts the weights of model.init"),
                         .found = text(key, " = ", found),
                         .expected = std::move(expected),
                         .fix = text("leave model.", key, " out, or start from other weights (model.init)")});
  }

  config::RunConfig& config_;
  std::string file_;
  std::vector<ErrorInfo> problems_;
};

/// The folder whose config.json describes `init`; "" when there is none: then the tensors alone must fit.
std::string folder_of(std::string const& init) {
  namespace fs = std::filesystem;
  if (fs::is_directory(init)) return init;
  auto const folder = fs::absolute(init).parent_path();
  return fs::exists(folder / "config.json") ? folder.string() : "";
}

void complete_from_weights(config::RunConfig& config, std::string const& folder) {
  auto const sizes = checkpoint::read_hf_config(folder);
  auto& model = config.model;
  Weights weights(config, folder);
  weights.take("layers", model.layers, sizes.layers, model.layers == 0);
  weights.take("hidden", model.hidden, sizes.hidden, model.hidden == 0);
  weights.take("heads", model.heads, sizes.heads, model.heads == 0);
  weights.take("vocab", model.vocab, sizes.vocab, model.vocab == 0);
  weights.take("ff", model.ff, sizes.ff, model.ff == 0);
  // A shorter context takes the first of the learned positions.
  if (model.context == 0 || model.context > sizes.context)
    weights.take("context", model.context, sizes.context, model.context == 0);
  weights.take("tied", model.tied, sizes.tied, !weights.given("tied"));
  weights.require("norm", model.norm, std::string("pre"));
  weights.require("activation", model.activation, std::string("gelu"));
  weights.require("causal", model.causal, true);
  weights.require("positions", model.positions, std::string("learned"));
  weights.require("head_bias", model.head_bias, false);
  weights.fail_if_any();
}

}  // namespace

void complete_model(config::RunConfig& config) {
  auto& model = config.model;
  if (model.kind == "gpt" && model.init != "random") {
    if (auto const folder = folder_of(model.init); !folder.empty()) complete_from_weights(config, folder);
  }
  if (model.kind == "layers") return;
  if (model.vocab == 0) {
    constexpr std::int64_t bytes = 256;
    if (config.data.kind == "synthetic") {
      model.vocab = config.data.vocab > 0 ? config.data.vocab : bytes;
    } else if (config.data.kind == "text") {
      model.vocab = data::Tokenizer::open(config.data.tokenizer).vocab();
    } else if (config.data.kind == "tokens") {
      fail({.code = "config.model.vocab",
            .subject = "model.vocab",
            .found = "no value, and token files do not say their vocabulary",
            .expected = "the number of tokens of the tokenizer that made the files",
            .fix = "set model.vocab, e.g. 50257 for GPT-2's tokenizer, 256 for bytes"});
    }
  }
}

}  // namespace lamina::train
