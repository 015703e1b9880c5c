#include <filesystem>

#include "checkpoint/detail/json.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/safetensors.hpp"
#include "lamina/io/file.hpp"

namespace lamina::checkpoint {
namespace {

using detail::Fields;

[[noreturn]] void refuse(char const* rule, std::string const& file, std::string found, std::string expected) {
  fail({.code = text("checkpoint.hugging_face.", rule),
        .subject = file,
        .found = std::move(found),
        .expected = std::move(expected),
        .fix = "take a GPT-2 model: other architectures are not available yet"});
}

std::string read_config(std::string const& path) {
  try {
    return io::read_text(path, 1 << 20);
  } catch (Error const& e) {
    refuse("config", path, e.info().found, "the config.json of a Hugging Face model");
  }
}

/// A switch that changes what the model computes: absent, null, or as GPT-2 has it.
void require_off(Fields const& f, nlohmann::json const& json, std::string const& file, char const* key, bool usual) {
  auto const it = json.find(key);
  if (it == json.end() || it->is_null() || f.boolean(key) == usual) return;
  refuse("option", file, text(key, " = ", it->dump()), text(key, " = ", usual ? "true" : "false"));
}

}  // namespace

HfSizes read_hf_config(std::string const& directory) {
  auto const path = directory + "/config.json";
  detail::JsonSource const source{.code = "checkpoint.hugging_face", .file = path, .begin = 0, .fix = "get it again"};
  auto const json = detail::parse_json(source, read_config(path));
  Fields const f(source, json, "");
  if (f.string("model_type") != "gpt2") refuse("model_type", path, f.string("model_type"), "gpt2");
  constexpr std::int64_t most = std::int64_t{1} << 31;
  HfSizes s{.layers = f.integer("n_layer", 1, most),
            .hidden = f.integer("n_embd", 1, most),
            .heads = f.integer("n_head", 1, most),
            .context = f.integer("n_positions", 1, most),
            .vocab = f.integer("vocab_size", 1, most)};
  s.ff = f.has("n_inner") && !json["n_inner"].is_null() ? f.integer("n_inner", 1, most) : 4 * s.hidden;
  if (s.hidden % s.heads != 0)
    refuse("sizes", path, text("n_embd = ", s.hidden, ", n_head = ", s.heads), "n_head divides n_embd");
  if (f.has("tie_word_embeddings")) s.tied = f.boolean("tie_word_embeddings");
  if (f.has("activation_function")) {
    auto const& a = f.string("activation_function");
    if (a != "gelu_new" && a != "gelu_pytorch_tanh") refuse("activation", path, a, "gelu_new (the tanh form)");
  }
  if (f.has("layer_norm_epsilon") && json["layer_norm_epsilon"] != 1e-5)
    refuse("option", path, text("layer_norm_epsilon = ", json["layer_norm_epsilon"].dump()), "1e-05");
  require_off(f, json, path, "scale_attn_weights", true);
  require_off(f, json, path, "scale_attn_by_inverse_layer_idx", false);
  require_off(f, json, path, "add_cross_attention", false);
  return s;
}

}  // namespace lamina::checkpoint
