#include "checkpoint/detail/manifest.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::checkpoint::detail {
namespace {

using Json = nlohmann::ordered_json;

Json shape_of(Shape const& shape) {
  auto result = Json::array();
  for (auto const extent : shape.extents()) result.push_back(extent);
  return result;
}

template <class Items, class Line>
void print_list(std::string& out, char const* key, Items const& items, Line const& line) {
  out += text("  \"", key, "\": [");
  char const* before = "\n    ";
  for (auto const& item : items) out += before + line(item).dump(), before = ",\n    ";
  out += items.empty() ? "],\n" : "\n  ],\n";
}

}  // namespace

std::string print(Manifest const& m) {
  Json const software = {{"lamina", LAMINA_VERSION}, {"hdf5", io::hdf5_version()}, {"compiler", __VERSION__}};
  Json const rng = {{"generator", "philox4x32-10"}, {"seed", m.state.seed}};
  std::string out = "{\n";
  auto const item = [&](char const* key, Json const& value) { out += text("  \"", key, "\": ", value.dump(), ",\n"); };
  item("format", "lamina-checkpoint");
  item("version", manifest_version);
  item("written_by", "lamina " LAMINA_VERSION);
  item("step", m.state.step);
  item("tokens", m.state.tokens);
  item("data_position", m.state.data_position);
  item("rng", rng);
  item("layout", m.state.layout);
  item("software", software);
  item("config_hash", hex(hash128(m.state.config)));
  item("config", m.state.config);
  if (!m.state.tokenizer_hash.empty()) item("tokenizer_hash", m.state.tokenizer_hash);
  print_list(out, "files", m.files, [](FileEntry const& f) {
    return Json{{"name", f.name}, {"bytes", f.bytes}, {"metadata_checksum", hex(f.metadata)}};
  });
  print_list(out, "tensors", m.tensors, [&](TensorEntry const& t) {
    return Json{{"name", t.name},
                {"role", name_of(t.role)},
                {"dtype", name_of(t.spec.dtype)},
                {"shape", shape_of(t.spec.shape)},
                {"file", m.files[static_cast<std::size_t>(t.file)].name},
                {"offset", t.offset},
                {"checksum", hex(t.checksum)}};
  });
  return out + text("  \"checksum\": \"", hex(hash128(out)), "\"\n}\n");
}

std::string problem_of_name(std::string const& name) {
  if (name.empty()) return "is empty";
  if (name.size() > 512) return "has more than 512 characters";
  if (name == "." || name == "..") return "is a directory's name";
  for (char const c : name) {
    if (c == '/') return "contains '/'";
    if (c <= ' ' || c >= 127) return "contains a character that is not printable ASCII, or a space";
  }
  return {};
}

std::string dataset_path(Role role, std::string const& name) {
  switch (role) {
    case Role::parameter:
      return "/parameters/" + name;
    case Role::moment1:
      return "/moments1/" + name;
    case Role::moment2:
      return "/moments2/" + name;
    default:
      break;
  }
  fail({.code = "checkpoint.save.role",
        .subject = name,
        .found = text("role ", role),
        .expected = "parameter, moment1 or moment2",
        .fix = "leave this tensor out of the checkpoint"});
}

std::string label_of(TensorEntry const& tensor) { return dataset_path(tensor.role, tensor.name).substr(1); }

io::Array array_of(TensorEntry const& tensor) {
  return {.path = dataset_path(tensor.role, tensor.name), .spec = tensor.spec, .offset = tensor.offset};
}

std::vector<io::Array> arrays_of(Manifest const& manifest, int file) {
  std::vector<io::Array> arrays;
  for (auto const& t : manifest.tensors) {
    if (t.file == file) arrays.push_back(array_of(t));
  }
  return arrays;
}

int find_tensor(Manifest const& manifest, std::string const& name, Role role) {
  auto const& all = manifest.tensors;
  auto const it = std::find_if(all.begin(), all.end(), [&](auto const& t) { return t.role == role && t.name == name; });
  return it == all.end() ? -1 : static_cast<int>(it - all.begin());
}

std::int64_t total_bytes(Manifest const& manifest) {
  std::int64_t bytes = 0;
  for (auto const& f : manifest.files) bytes += f.bytes;
  return bytes;
}

}  // namespace lamina::checkpoint::detail
