// Legend: C hidden (Lamina's D), F feed-forward, V vocabulary, P context, N heads, H head size.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "checkpoint/detail/safetensors.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/safetensors.hpp"
#include "lamina/io/file.hpp"

namespace lamina::checkpoint {
namespace {

/// Where a parameter is in a Hugging Face file.
struct Place {
  std::string name;         ///< without "transformer."
  bool transposed = false;  ///< Conv1D stores [in, out], Lamina [out, in]
};

std::optional<Place> block_place(std::string const& layer, std::string const& rest) {
  auto const h = text("h.", layer, ".");
  static std::pair<char const*, Place> const table[] = {{"attn.norm.weight", {"ln_1.weight"}},
                                                        {"attn.norm.bias", {"ln_1.bias"}},
                                                        {"attn.qkv.weight", {"attn.c_attn.weight", true}},
                                                        {"attn.qkv.bias", {"attn.c_attn.bias"}},
                                                        {"attn.out.weight", {"attn.c_proj.weight", true}},
                                                        {"attn.out.bias", {"attn.c_proj.bias"}},
                                                        {"mlp.norm.weight", {"ln_2.weight"}},
                                                        {"mlp.norm.bias", {"ln_2.bias"}},
                                                        {"mlp.fc.weight", {"mlp.c_fc.weight", true}},
                                                        {"mlp.fc.bias", {"mlp.c_fc.bias"}},
                                                        {"mlp.proj.weight", {"mlp.c_proj.weight", true}},
                                                        {"mlp.proj.bias", {"mlp.c_proj.bias"}}};
  for (auto const& [ours, place] : table) {
    if (rest == ours) return Place{.name = h + place.name, .transposed = place.transposed};
  }
  return std::nullopt;
}

Place place_of(std::string const& name) {
  static std::pair<char const*, char const*> const table[] = {{"embed.tokens.weight", "wte.weight"},
                                                              {"embed.positions.weight", "wpe.weight"},
                                                              {"final.norm.weight", "ln_f.weight"},
                                                              {"final.norm.bias", "ln_f.bias"},
                                                              {"head.weight", "lm_head.weight"}};
  for (auto const& [ours, theirs] : table) {
    if (name == ours) return {.name = theirs};
  }
  if (name.starts_with("blocks.")) {
    auto const end = name.find('.', 7);
    if (end != std::string::npos) {
      if (auto place = block_place(name.substr(7, end - 7), name.substr(end + 1))) return *place;
    }
  }
  fail({.code = "checkpoint.gpt2.name",
        .subject = name,
        .found = "no counterpart in Hugging Face's GPT-2",
        .expected = "a parameter of a GPT with learned positions and no head bias",
        .fix = "use model.positions = \"learned\", model.head_bias = false"});
}

/// Their shape of a parameter: [in, out] where ours is [out..., in...] with the same number of elements.
Shape their_shape(Place const& place, std::string const& name, Shape const& ours) {
  int const ndim = ours.ndim();
  if (!place.transposed) return ndim == 3 ? Shape{ours.count()} : ours;  // qkv.bias [3, N, H] is flat there
  int const outputs = name.ends_with("qkv.weight") ? ndim - 1 : 1;
  return {ours.count(outputs, ndim), ours.count(0, outputs)};
}

/// rows x columns -> columns x rows, in squares that stay in the cache.
std::vector<float> transpose(std::vector<float> const& in, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t side = 32;
  std::vector<float> out(in.size());
  for (std::int64_t r0 = 0; r0 < rows; r0 += side) {
    for (std::int64_t c0 = 0; c0 < columns; c0 += side) {
      for (auto r = r0; r < std::min(rows, r0 + side); ++r) {
        for (auto c = c0; c < std::min(columns, c0 + side); ++c)
          out[static_cast<std::size_t>(c * rows + r)] = in[static_cast<std::size_t>(r * columns + c)];
      }
    }
  }
  return out;
}

std::string find_entry(SafeTensors const& file, std::string const& lamina_name, std::string const& theirs) {
  std::vector<std::string> candidates{"transformer." + theirs, theirs};
  if (theirs == "lm_head.weight") candidates = {theirs, "transformer.wte.weight", "wte.weight"};
  for (auto const& c : candidates) {
    if (file.has(c)) return c;
  }
  fail({.code = "checkpoint.gpt2.missing",
        .subject = lamina_name,
        .found = text("none of ", join(candidates), " in the file"),
        .expected = "the weights of a GPT-2 with all its layers",
        .fix = "take another file, or set model.layers to what it has"});
}

nlohmann::ordered_json config_of(HfSizes const& s) {
  // The end-of-text token of OpenAI's vocabulary; other vocabularies have none that we know.
  nlohmann::ordered_json const end = s.vocab == 50257 ? nlohmann::ordered_json(50256) : nlohmann::ordered_json(nullptr);
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"vocab_size", s.vocab},
          {"n_positions", s.context},
          {"n_ctx", s.context},
          {"n_embd", s.hidden},
          {"n_layer", s.layers},
          {"n_head", s.heads},
          {"n_inner", s.ff},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", 1e-5},
          {"initializer_range", 0.02},
          {"resid_pdrop", 0.0},
          {"embd_pdrop", 0.0},
          {"attn_pdrop", 0.0},
          {"scale_attn_weights", true},
          {"tie_word_embeddings", s.tied},
          {"bos_token_id", end},
          {"eos_token_id", end},
          {"torch_dtype", "float32"}};
}

}  // namespace

std::vector<GptParameter> gpt2_parameters(HfSizes const& s) {
  if (s.heads <= 0 || s.hidden % s.heads != 0) {
    fail({.code = "checkpoint.gpt2.sizes",
          .subject = "GPT-2",
          .found = text("hidden = ", s.hidden, ", heads = ", s.heads),
          .expected = "heads divides hidden",
          .fix = "correct the sizes"});
  }
  auto const d = s.hidden, n = s.heads, h = s.hidden / s.heads, f = s.ff;
  std::vector<GptParameter> all{{"embed.tokens.weight", {s.vocab, d}}, {"embed.positions.weight", {s.context, d}}};
  for (std::int64_t i = 0; i < s.layers; ++i) {
    auto const add = [&](char const* name, Shape shape) { all.push_back({text("blocks.", i, ".", name), shape}); };
    add("attn.norm.weight", {d}), add("attn.norm.bias", {d});
    add("attn.qkv.weight", {3, n, h, d}), add("attn.qkv.bias", {3, n, h});
    add("attn.out.weight", {d, n, h}), add("attn.out.bias", {d});
    add("mlp.norm.weight", {d}), add("mlp.norm.bias", {d});
    add("mlp.fc.weight", {f, d}), add("mlp.fc.bias", {f});
    add("mlp.proj.weight", {d, f}), add("mlp.proj.bias", {d});
  }
  all.push_back({"final.norm.weight", {d}});
  all.push_back({"final.norm.bias", {d}});
  if (!s.tied) all.push_back({"head.weight", {s.vocab, d}});
  return all;
}

std::vector<float> read_gpt2_parameter(SafeTensors const& file, std::string const& lamina_name, Shape const& shape) {
  auto const place = place_of(lamina_name);
  auto const name = find_entry(file, lamina_name, place.name);
  auto const& entry = file.entries().at(name);
  auto const wanted = their_shape(place, lamina_name, shape);
  // A shorter context uses the first of the learned positions, as PyTorch users do by cropping wpe.
  bool const cropped = lamina_name == "embed.positions.weight" && entry.shape.ndim() == 2 &&
                       entry.shape[1] == wanted[1] && entry.shape[0] > wanted[0];
  if (entry.shape != wanted && !cropped) {
    fail({.code = "checkpoint.gpt2.shape",
          .subject = text(entry.file, ": ", name),
          .found = text(entry.shape),
          .expected = text(wanted, " for ", lamina_name, " ", shape),
          .fix = "set the sizes of [model] to those of the file; a Hugging Face directory fills them by itself"});
  }
  auto values = file.read(name);
  values.resize(static_cast<std::size_t>(wanted.count()));
  return place.transposed ? transpose(values, wanted[0], wanted[1]) : values;
}

void export_gpt2(std::string const& directory, HfSizes const& sizes,
                 std::function<std::vector<float>(std::string const& lamina_name)> const& parameter) {
  auto const parameters = gpt2_parameters(sizes);
  std::vector<detail::SafeTensorHead> heads;
  for (auto const& p : parameters) {
    auto const place = place_of(p.name);
    auto const prefix = p.name == "head.weight" ? "" : "transformer.";
    heads.push_back({.name = prefix + place.name, .shape = their_shape(place, p.name, p.shape)});
  }
  io::make_directories(directory);
  detail::write_safetensors_streamed(directory + "/model.safetensors", heads, [&](std::size_t i) {
    auto values = parameter(parameters[i].name);
    auto const& shape = heads[i].shape;
    if (!place_of(parameters[i].name).transposed || static_cast<std::int64_t>(values.size()) != shape.count())
      return values;  // a wrong count is refused by the writer
    return transpose(values, shape[1], shape[0]);
  });
  auto const config = config_of(sizes);
  nlohmann::ordered_json const generation = {
      {"_from_model_config", true}, {"bos_token_id", config["bos_token_id"]}, {"eos_token_id", config["eos_token_id"]}};
  io::write_text_atomically(directory + "/generation_config.json", generation.dump(2) + "\n", "checkpoint.export");
  io::write_text_atomically(directory + "/config.json", config.dump(2) + "\n", "checkpoint.export");
}

}  // namespace lamina::checkpoint
