#include "checkpoint/detail/read.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "checkpoint/detail/directory.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/checkpoint.hpp"

namespace lamina::checkpoint {
namespace detail {

io::File open_file(std::string const& directory, FileEntry const& file) {
  return io::File::open(text(directory, "/", file.name), io::Mode::read, "checkpoint.load");
}

void refuse_checksum(Manifest const& m, std::string const& directory, std::size_t tensor, std::string const& found) {
  auto const& t = m.tensors[tensor];
  fail({.code = "checkpoint.load.checksum",
        .subject = text(directory, "/", m.files[static_cast<std::size_t>(t.file)].name, ": ", label_of(t)),
        .found = found,
        .expected = text("checksum ", hex(t.checksum), ", as the manifest says"),
        .fix = "the file is damaged; use another checkpoint"});
}

void require_checksum(Manifest const& m, std::string const& directory, std::size_t tensor, Hash128 const& found) {
  if (found != m.tensors[tensor].checksum)
    refuse_checksum(m, directory, tensor, text("checksum ", hex(found), " of the bytes in the file"));
}

Hash128 checksum_on_disk(Manifest const& m, std::string const& directory, std::size_t tensor) {
  auto const& t = m.tensors[tensor];
  auto const file = open_file(directory, m.files[static_cast<std::size_t>(t.file)]);
  io::PartialChecksum sum(t.spec);
  auto const row = t.spec.shape.ndim() == 0 ? 1 : std::max<std::int64_t>(1, t.spec.shape.back());
  auto const size = sizeof_dtype(t.spec.dtype);
  std::vector<char> buffer;
  std::int64_t const most = 1 << 20;
  for (std::int64_t at = 0; at < t.spec.count();) {
    auto count = std::min(most, t.spec.count() - at);
    if (at + count < t.spec.count()) count -= (at + count) % row % io::PartialChecksum::cell_elements;
    buffer.resize(static_cast<std::size_t>(count * size));
    file.read(buffer.data(), count * size, t.offset + at * size);
    sum.add({.global = at, .local = 0, .count = count}, buffer.data());
    at += count;
  }
  return sum.sum();
}

}  // namespace detail

namespace {

std::vector<float> as_f32(std::vector<char> const& bytes, TensorSpec const& spec, std::string const& label) {
  std::vector<float> result(static_cast<std::size_t>(spec.count()));
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (spec.dtype == DType::f32) {
      std::memcpy(&result[i], &bytes[4 * i], 4);
    } else if (spec.dtype == DType::bf16) {
      std::uint16_t upper = 0;
      std::memcpy(&upper, &bytes[2 * i], 2);
      result[i] = std::bit_cast<float>(std::uint32_t{upper} << 16);
    } else if (spec.dtype == DType::f64) {
      double x = 0;
      std::memcpy(&x, &bytes[8 * i], 8);
      result[i] = static_cast<float>(x);
    } else {
      fail({.code = "checkpoint.load.dtype",
            .subject = label,
            .found = text(spec.dtype),
            .expected = "f32, bf16 or f64",
            .fix = "read it with h5py"});
    }
  }
  return result;
}

}  // namespace

std::vector<float> read_tensor(std::string const& checkpoint_dir, std::string const& name, Role role) {
  auto const m = detail::read_manifest(checkpoint_dir);
  auto const i = detail::find_tensor(m, name, role);
  auto const label = text(checkpoint_dir, ": ", role, " ", name);
  if (i < 0) {
    fail({.code = "checkpoint.load.missing",
          .subject = label,
          .found = "no such tensor in the checkpoint",
          .expected = "a name that lamina checkpoint ls shows",
          .fix = "check the name"});
  }
  auto const at = static_cast<std::size_t>(i);
  auto const& t = m.tensors[at];
  detail::require_file_size(checkpoint_dir, m.files[static_cast<std::size_t>(t.file)]);
  auto const file = detail::open_file(checkpoint_dir, m.files[static_cast<std::size_t>(t.file)]);
  std::vector<char> bytes(static_cast<std::size_t>(t.spec.bytes()));
  io::PartialChecksum sum(t.spec);
  io::read_boxes(file, detail::array_of(t), {}, {bytes.data(), t.spec}, sum);
  detail::require_checksum(m, checkpoint_dir, at, sum.sum());
  return as_f32(bytes, t.spec, label);
}

}  // namespace lamina::checkpoint
