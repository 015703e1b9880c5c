#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lamina/io/checksum.hpp"
#include "lamina/io/file.hpp"
#include "lamina/io/layout.hpp"
#include "lamina/tensor/tensor.hpp"

/// Files of named arrays that many ranks write and read at once, each its own boxes of a global index. The files are
/// HDF5 with contiguous datasets; HDF5 itself only makes and describes them. Data go by pwrite and pread at the
/// offsets it chose, which no kill and no full disk can turn into a file that does not open (src/io/README.md).
namespace lamina::io {

struct Array {
  std::string path;  ///< "/parameters/embed.tokens.weight": one group, one name without '/'
  TensorSpec spec;   ///< of the global array
  std::int64_t offset = 0;
};

struct ArrayFile {
  std::string path;
  std::int64_t bytes = 0;
  std::vector<Array> arrays;
  Hash128 metadata;  ///< see metadata_checksum
};

/// Makes the file with all its metadata and all its disk space, and makes it durable. One rank calls it; then all may
/// open it with Mode::update. Fills the offsets. Fault points <site>.create, .preallocate, .fsync.
/// @throws Error "io.file.no_space" with bytes needed and free, "io.file.*", "vendor.hdf5.*"; the file may be left.
ArrayFile create_array_file(std::string const& path, std::vector<Array> arrays, std::string const& site = "io");

/// XXH3-128 of the bytes of a file that belong to no array, in order: what HDF5 would interpret.
/// @param arrays must lie inside the file and not overlap; any order.
Hash128 metadata_checksum(File const& file, std::vector<Array> const& arrays);

std::string hdf5_version();  ///< "1.10.8"; "none" in a build without it

/// The arrays of a file as HDF5 sees them. Check bytes and checksums before. @throws Error "vendor.hdf5.*".
std::vector<Array> describe_array_file(std::string const& path);

/// Writes boxes of an array from memory, adding what they hold to `sum`. Not durable before file.sync().
/// @throws Error "io.box.*" when the boxes and the memory do not fit together, "io.file.*".
void write_boxes(File const& file, Array const& array, std::span<Box const> boxes, TensorRef memory,
                 PartialChecksum& sum);

/// Reads boxes of an array into memory, adding what they hold to `sum`.
void read_boxes(File const& file, Array const& array, std::span<Box const> boxes, TensorRef memory,
                PartialChecksum& sum);

}  // namespace lamina::io
