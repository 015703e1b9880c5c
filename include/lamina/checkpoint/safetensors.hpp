#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lamina/tensor/tensor.hpp"

namespace lamina::checkpoint {

/// An open safetensors file (or a sharded set by its index, or a Hugging Face directory), mapped read-only. The header
/// is checked in full before any tensor is handed out; every malformed case of the format is an Error
/// "checkpoint.safetensors.<rule>" with the file and the byte offset (exit 3).
class SafeTensors {
 public:
  static SafeTensors open(std::string const& path);
  struct Entry {
    std::string dtype;  ///< "F32", "BF16", "F16", ...
    Shape shape;
    std::string file;
    std::int64_t begin = 0, end = 0;  ///< in the file
  };
  std::map<std::string, Entry> const& entries() const { return entries_; }
  bool has(std::string const& name) const { return entries_.contains(name); }
  /// Elements as f32; F32, F16, BF16, F64 convert.
  std::vector<float> read(std::string const& name) const;

 private:
  std::map<std::string, Entry> entries_;
};

/// Writes one file: tensors in the given order of names, f32, `__metadata__` {"format": "pt"}; temporary + fsync +
/// rename.
struct NamedTensor {
  std::string name;
  Shape shape;
  std::vector<float> const* data = nullptr;
};
void write_safetensors(std::string const& path, std::vector<NamedTensor> const& tensors);

/// Hugging Face GPT-2 <-> Lamina. `lamina_name` is a parameter of `kind = "gpt"`.
struct HfSizes {
  std::int64_t layers = 0, hidden = 0, heads = 0, context = 0, vocab = 0, ff = 0;
  bool tied = true;
};
/// Sizes from config.json of a Hugging Face directory; @throws "checkpoint.hugging_face.*" for what is not GPT-2.
HfSizes read_hf_config(std::string const& directory);
/// The parameter in Lamina's shape and order (Conv1D transposed, qkv split), from a GPT-2 file with or without the
/// "transformer." prefix.
std::vector<float> read_gpt2_parameter(SafeTensors const& file, std::string const& lamina_name, Shape const& shape);
/// Writes model.safetensors, config.json and generation_config.json that transformers loads.
void export_gpt2(std::string const& directory, HfSizes const& sizes,
                 std::function<std::vector<float>(std::string const& lamina_name)> const& parameter);

}  // namespace lamina::checkpoint
