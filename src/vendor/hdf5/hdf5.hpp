#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamina/tensor/tensor.hpp"

/// What Lamina wants of HDF5: a file of contiguous datasets whose raw data lie at known offsets. Raw data are never
/// moved through the library. Not thread-safe: one thread at a time, as HDF5 is built.
namespace lamina::vendor::hdf5 {

bool available();
std::string version();  ///< "1.10.8"; "none" without HDF5

/// A dataset of global shape. bf16 is stored as u16 with the string attribute dtype = "bf16"; all types little-endian.
struct Dataset {
  std::string path;  ///< "/group/name"; one level of groups
  TensorSpec spec;
  std::int64_t offset = 0;  ///< first byte of the raw data in the file; 0 when it has no elements
};

/// Creates `file` (which must not exist) with all groups, datasets and attributes, serially, without MPI: contiguous,
/// allocated early, never filled, large datasets on 4 KiB boundaries, no time stamps (equal arguments give equal
/// bytes). Closes it; does not sync. Returns the offsets in the order given.
/// @throws Error "vendor.hdf5.no_space" (disk, quota or file size limit), "vendor.hdf5.call", "vendor.hdf5.layout".
std::vector<std::int64_t> create(std::string const& file, std::vector<Dataset> const& datasets);

/// All datasets of a file in the library's order of names. Check sizes and checksums first: malformed files have
/// crashed HDF5. @throws Error "vendor.hdf5.call"; "vendor.hdf5.layout" for what `create` does not make: soft and
/// external links, other types, chunks, filters, external storage.
std::vector<Dataset> describe(std::string const& file);

}  // namespace lamina::vendor::hdf5
