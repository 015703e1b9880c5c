#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/base/hash.hpp"
#include "lamina/checkpoint/checkpoint.hpp"
#include "lamina/io/array_file.hpp"

/// manifest.json: what a checkpoint directory holds. Nothing else is trusted before it has been read and checked.
namespace lamina::checkpoint::detail {

constexpr std::int64_t manifest_version = 1;
constexpr std::int64_t largest_manifest = std::int64_t{256} << 20;
constexpr std::int64_t largest_step = 99'999'999;  // eight digits
inline constexpr char manifest_name[] = "manifest.json";

struct FileEntry {
  std::string name;  ///< without any directory
  std::int64_t bytes = 0;
  Hash128 metadata;  ///< io::metadata_checksum: the bytes that belong to no tensor
};

struct TensorEntry {
  std::string name;
  Role role = Role::parameter;
  TensorSpec spec;
  int file = 0;             ///< index into files
  std::int64_t offset = 0;  ///< in the file, bytes
  Hash128 checksum;         ///< io::PartialChecksum of the whole tensor
};

struct Manifest {
  State state;
  std::vector<FileEntry> files;
  std::vector<TensorEntry> tensors;
};

std::string print(Manifest const& manifest);
/// Refuses what is not a whole, consistent manifest of this version: everything in it may be used unchecked afterwards
/// once the sizes of the files have been compared. @throws Error "checkpoint.manifest.<rule>" with the place.
Manifest parse_manifest(std::string const& text, std::string const& path);
Manifest read_manifest(std::string const& directory);

/// "" for a name that is fit for a dataset and for messages, else what is wrong with it.
std::string problem_of_name(std::string const& name);
/// "/parameters/embed.tokens.weight"
std::string dataset_path(Role role, std::string const& name);
/// "parameters/embed.tokens.weight", as messages name a tensor.
std::string label_of(TensorEntry const& tensor);
io::Array array_of(TensorEntry const& tensor);
std::vector<io::Array> arrays_of(Manifest const& manifest, int file);
/// Index or -1.
int find_tensor(Manifest const& manifest, std::string const& name, Role role);
std::int64_t total_bytes(Manifest const& manifest);

}  // namespace lamina::checkpoint::detail
