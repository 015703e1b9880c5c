#include "lamina/io/array_file.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "io/detail/system_error.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "vendor/hdf5/hdf5.hpp"

namespace lamina::io {
namespace {

constexpr std::int64_t block_bytes = 4 << 20;  // hashed while it is in the cache

void require_fit(Array const& array, std::span<Box const> boxes, TensorRef memory) {
  auto const wanted = count_of(array.spec.shape, boxes);
  if (memory.spec.dtype == array.spec.dtype && memory.spec.count() == wanted && (memory.data != nullptr || wanted == 0))
    return;
  fail({.code = "io.box.memory",
        .subject = array.path,
        .found = text("memory for ", memory.spec, memory.data == nullptr ? " at no address" : ""),
        .expected = text(wanted, " elements of ", array.spec.dtype, ", the boxes stacked"),
        .fix = "correct the layout that made the boxes or the memory"});
}

/// Cuts a run into blocks that end where a cell ends, so that the checksum of each can be taken alone.
void for_each_block(Run const& run, TensorSpec const& spec, std::function<void(Run const&)> const& work) {
  auto const row = spec.shape.ndim() == 0 ? 1 : spec.shape.back();
  auto const most = block_bytes / sizeof_dtype(spec.dtype);
  for (std::int64_t done = 0; done < run.count;) {
    auto count = std::min(most, run.count - done);
    if (done + count < run.count) count -= (run.global + done + count) % row % PartialChecksum::cell_elements;
    work({.global = run.global + done, .local = run.local + done, .count = count});
    done += count;
  }
}

std::vector<std::int64_t> create_by_hdf5(std::string const& path, std::vector<Array> const& arrays) {
  std::vector<vendor::hdf5::Dataset> datasets;
  std::int64_t bytes = 0;
  for (auto const& a : arrays) {
    datasets.push_back({.path = a.path, .spec = a.spec, .offset = 0});
    bytes += a.spec.bytes();
  }
  try {
    return vendor::hdf5::create(path, datasets);
  } catch (Error const& e) {
    if (e.info().code == "vendor.hdf5.no_space") detail::fail_no_space(path, text("create: ", e.info().found), bytes);
    throw;
  }
}

std::vector<Array> sorted_by_place(std::vector<Array> arrays) {
  std::erase_if(arrays, [](Array const& a) { return a.spec.count() == 0; });
  std::sort(arrays.begin(), arrays.end(), [](auto const& a, auto const& b) { return a.offset < b.offset; });
  return arrays;
}

}  // namespace

ArrayFile create_array_file(std::string const& path, std::vector<Array> arrays, std::string const& site) {
  if (int const error = detail::injected(fault::hit(site, "create"))) detail::fail_write(path, "create", 0, error);
  auto const offsets = create_by_hdf5(path, arrays);
  ArrayFile result{.path = path, .bytes = 0, .arrays = std::move(arrays), .metadata = {}};
  auto const file = File::open(path, Mode::update, site);
  result.bytes = file.bytes();
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    auto& a = result.arrays[i];
    a.offset = offsets[i];
    result.bytes = std::max(result.bytes, a.offset + a.spec.bytes());
  }
  file.preallocate(result.bytes);
  result.metadata = metadata_checksum(file, result.arrays);
  file.sync();
  return result;
}

Hash128 metadata_checksum(File const& file, std::vector<Array> const& arrays) {
  Hasher hasher;
  std::string buffer;
  auto const add = [&](std::int64_t begin, std::int64_t end) {
    for (auto at = begin; at < end;) {
      buffer.resize(static_cast<std::size_t>(std::min(end - at, block_bytes)));
      file.read(buffer.data(), static_cast<std::int64_t>(buffer.size()), at);
      hasher.update(buffer);
      at += static_cast<std::int64_t>(buffer.size());
    }
  };
  std::int64_t at = 0;
  for (auto const& a : sorted_by_place(arrays)) {
    add(at, a.offset);
    at = a.offset + a.spec.bytes();
  }
  add(at, file.bytes());
  return hasher.digest128();
}

std::string hdf5_version() { return vendor::hdf5::version(); }

std::vector<Array> describe_array_file(std::string const& path) {
  std::vector<Array> arrays;
  for (auto const& d : vendor::hdf5::describe(path))
    arrays.push_back({.path = d.path, .spec = d.spec, .offset = d.offset});
  return arrays;
}

void write_boxes(File const& file, Array const& array, std::span<Box const> boxes, TensorRef memory,
                 PartialChecksum& sum) {
  require_fit(array, boxes, memory);
  auto const size = sizeof_dtype(array.spec.dtype);
  for (auto const& run : runs_of(array.path, array.spec.shape, boxes)) {
    for_each_block(run, array.spec, [&](Run const& block) {
      auto const* data = memory.as<char>() + block.local * size;
      file.write(data, block.count * size, array.offset + block.global * size);
      sum.add(block, data);
    });
  }
}

void read_boxes(File const& file, Array const& array, std::span<Box const> boxes, TensorRef memory,
                PartialChecksum& sum) {
  require_fit(array, boxes, memory);
  auto const size = sizeof_dtype(array.spec.dtype);
  for (auto const& run : runs_of(array.path, array.spec.shape, boxes)) {
    for_each_block(run, array.spec, [&](Run const& block) {
      auto* data = memory.as<char>() + block.local * size;
      file.read(data, block.count * size, array.offset + block.global * size);
      sum.add(block, data);
    });
  }
}

}  // namespace lamina::io
