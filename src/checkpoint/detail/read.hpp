#pragma once

#include <string>
#include <vector>

#include "checkpoint/detail/manifest.hpp"
#include "lamina/io/array_file.hpp"

/// Reading tensors of a checkpoint with their checksums.
namespace lamina::checkpoint::detail {

io::File open_file(std::string const& directory, FileEntry const& file);

/// @throws Error "checkpoint.load.checksum" naming file and tensor.
[[noreturn]] void refuse_checksum(Manifest const& m, std::string const& directory, std::size_t tensor,
                                  std::string const& found);
void require_checksum(Manifest const& m, std::string const& directory, std::size_t tensor, Hash128 const& found);

/// Streams a whole tensor through a buffer.
Hash128 checksum_on_disk(Manifest const& m, std::string const& directory, std::size_t tensor);

}  // namespace lamina::checkpoint::detail
