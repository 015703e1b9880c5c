#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lamina/tensor/tensor.hpp"

namespace lamina::checkpoint {

/// The tensors of a safetensors file (or of a sharded set by its index, or of a Hugging Face directory). Headers are
/// checked in full before any tensor is handed out; every malformed case of the format is an Error
/// "checkpoint.safetensors.<rule>" with the file and the byte offset (exit 3). Data are read when asked for (no
/// mapping: a file that shrinks is an error, not a signal).
class SafeTensors {
 public:
  /// @param path a file, a `*.index.json`, or a directory with model.safetensors[.index.json].
  static SafeTensors open(std::string const& path);
  struct Entry {
    std::string dtype;  ///< "F32", "BF16", "F16", ...
    Shape shape;
    std::string file;
    std::int64_t begin = 0, end = 0;  ///< in the file
  };
  std::map<std::string, Entry> const& entries() const { return entries_; }
  bool has(std::string const& name) const { return entries_.contains(name); }
  /// Elements as f32; F32, F16, BF16, F64 convert, F64 with rounding. @throws Error "checkpoint.safetensors.convert"
  /// for other dtypes, "checkpoint.safetensors.missing".
  std::vector<float> read(std::string const& name) const;

 private:
  std::map<std::string, Entry> entries_;
};

struct NamedTensor {
  std::string name;
  Shape shape;
  std::vector<float> const* data = nullptr;
};
/// An entry by its own name, of exactly this shape. @throws Error "checkpoint.safetensors.missing",
/// "checkpoint.safetensors.shape".
std::vector<float> read_parameter(SafeTensors const& file, std::string const& name, Shape const& shape);
/// Writes one file: tensors in the given order, f32, `__metadata__` {"format": "pt"}; temporary + fsync + rename +
/// fsync of the directory.
void write_safetensors(std::string const& path, std::vector<NamedTensor> const& tensors);

/// Hugging Face GPT-2 <-> Lamina. `lamina_name` is a parameter of `kind = "gpt"`: pre-norm, GELU (tanh form), learned
/// positions, causal, no head bias.
struct HfSizes {
  std::int64_t layers = 0, hidden = 0, heads = 0, context = 0, vocab = 0, ff = 0;
  bool tied = true;
  friend bool operator==(HfSizes const&, HfSizes const&) = default;
};
struct GptParameter {
  std::string name;
  Shape shape;
};
/// All parameters of such a model, in the order of its layers.
std::vector<GptParameter> gpt2_parameters(HfSizes const& sizes);
/// Sizes from config.json of a Hugging Face directory; @throws "checkpoint.hugging_face.*" for what is not GPT-2.
HfSizes read_hf_config(std::string const& directory);
/// The parameter in Lamina's shape and order (Conv1D transposed, qkv split), from a GPT-2 file with or without the
/// "transformer." prefix. head.weight comes from wte when the file has no lm_head. @throws Error
/// "checkpoint.gpt2.name", "checkpoint.gpt2.missing", "checkpoint.gpt2.shape".
std::vector<float> read_gpt2_parameter(SafeTensors const& file, std::string const& lamina_name, Shape const& shape);
/// Writes model.safetensors, config.json and generation_config.json that transformers loads. `parameter` is called once
/// for each parameter, in the order of the file. read_gpt2_parameter of the result gives back the same bits.
void export_gpt2(std::string const& directory, HfSizes const& sizes,
                 std::function<std::vector<float>(std::string const& lamina_name)> const& parameter);

}  // namespace lamina::checkpoint
