#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "checkpoint/detail/json.hpp"
#include "checkpoint/detail/manifest.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/io/file.hpp"

namespace lamina::checkpoint::detail {
namespace {

constexpr std::int64_t largest = std::int64_t{1} << 62;

void require_own_checksum(std::string const& s, std::string const& path) {
  constexpr std::string_view before = "  \"checksum\": \"", after = "\"\n}\n";
  auto const tail = before.size() + 32 + after.size();
  auto const body = std::string_view(s).substr(0, s.size() < tail ? 0 : s.size() - tail);
  auto const end = std::string_view(s).substr(body.size());
  auto const stated = end.size() == tail ? find_hash128(end.substr(before.size(), 32)) : std::nullopt;
  auto const whole = end.starts_with(before) && end.ends_with(after);
  if (whole && stated == hash128(body)) return;
  fail({.code = "checkpoint.manifest.checksum",
        .subject = path,
        .found = text("bytes 0 to ", body.size(), " have checksum ", hex(hash128(body))),
        .expected = whole ? text("checksum ", end.substr(before.size(), 32)) : "the manifest's own checksum at its end",
        .fix = "the manifest was changed or damaged; use another checkpoint"});
}

void require_version(Fields const& top, std::string const& path) {
  if (top.string("format") != "lamina-checkpoint") top.refuse("format", top.string("format"), "lamina-checkpoint");
  auto const version = top.integer("version", 0, largest);
  if (version == manifest_version) return;
  fail({.code = "checkpoint.manifest.version",
        .subject = path,
        .found = text("format version ", version, ", written by ", top.string("written_by")),
        .expected = text("format version ", manifest_version, "; this is lamina " LAMINA_VERSION),
        .fix = "use the version of Lamina that wrote it"});
}

/// A name that stays inside the checkpoint's directory.
bool plain_file_name(std::string const& name) {
  auto const allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !name.empty() && name.size() <= 128 && name.front() != '.' && std::all_of(name.begin(), name.end(), allowed);
}

Hash128 hash_field(Fields const& f, char const* key) {
  auto const hash = find_hash128(f.string(key));
  if (!hash) f.refuse(key, f.string(key).substr(0, 80), "32 hex digits");
  return *hash;
}

std::vector<FileEntry> parse_files(JsonSource const& source, Fields const& top) {
  std::vector<FileEntry> files;
  std::set<std::string> names;
  for (auto const& value : top.array("files")) {
    Fields const f(source, value, text("files[", files.size(), "]"));
    auto const& name = f.string("name");
    if (!plain_file_name(name) || name == manifest_name)
      f.refuse("name", name.substr(0, 80), "a file name of letters, digits, '-', '_' and '.', without a directory");
    if (!names.insert(name).second) f.refuse("name", name, "every file once");
    files.push_back(
        {.name = name, .bytes = f.integer("bytes", 0, largest), .metadata = hash_field(f, "metadata_checksum")});
  }
  return files;
}

TensorSpec parse_spec(Fields const& f) {
  auto const dtype = find_dtype(f.string("dtype"));
  if (!dtype) f.refuse("dtype", f.string("dtype").substr(0, 80), "a known element type");
  TensorSpec spec{.dtype = *dtype, .shape = {}};
  auto const& shape = f.array("shape");
  if (shape.size() > Shape::max_dims) f.refuse("shape", text(shape.size(), " dims"), text("at most ", Shape::max_dims));
  std::int64_t bytes = sizeof_dtype(*dtype);
  bool empty = false;
  for (auto const& extent : shape) {
    if (!is_integer_in(extent, 0, largest)) f.refuse("shape", shape.dump().substr(0, 120), "extents from 0 on");
    auto const n = extent.get<std::int64_t>();
    empty = empty || n == 0;
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(n, 1), &bytes) || bytes > largest)
      f.refuse("shape", shape.dump().substr(0, 120), "fewer than 2^62 bytes");
    spec.shape.push_back(n);
  }
  return spec;
}

TensorEntry parse_tensor(Fields const& f, std::vector<FileEntry> const& files) {
  TensorEntry t{.name = f.string("name"), .role = Role::parameter, .spec = {}, .file = 0, .offset = 0, .checksum = {}};
  if (auto const problem = problem_of_name(t.name); !problem.empty()) f.refuse("name", problem, "a tensor's name");
  auto const role = find_role(f.string("role"));
  if (role != Role::parameter && role != Role::moment1 && role != Role::moment2)
    f.refuse("role", f.string("role").substr(0, 80), "parameter, moment1 or moment2");
  t.role = *role;
  t.spec = parse_spec(f);
  auto const& file = f.string("file");
  auto const it = std::find_if(files.begin(), files.end(), [&](auto const& e) { return e.name == file; });
  if (it == files.end()) f.refuse("file", file.substr(0, 80), "one of the files of this manifest");
  t.file = static_cast<int>(it - files.begin());
  if (t.spec.bytes() > it->bytes) f.refuse("shape", text(t.spec), text("at most the ", it->bytes, " bytes of ", file));
  t.offset = f.integer("offset", 0, it->bytes - t.spec.bytes());
  t.checksum = hash_field(f, "checksum");
  return t;
}

/// No two tensors share a name or bytes.
void require_disjoint(Fields const& top, Manifest const& m) {
  std::set<std::pair<Role, std::string>> names;
  std::map<std::pair<int, std::int64_t>, TensorEntry const*> by_place;
  for (auto const& t : m.tensors) {
    if (!names.insert({t.role, t.name}).second) top.refuse("tensors", label_of(t) + " twice", "every tensor once");
    if (t.spec.count() == 0) continue;
    if (!by_place.emplace(std::pair(t.file, t.offset), &t).second)
      top.refuse("tensors", text("two tensors at byte ", t.offset), "every tensor at its own place");
  }
  TensorEntry const* last = nullptr;
  for (auto const& [place, t] : by_place) {
    if (last != nullptr && last->file == t->file && last->offset + last->spec.bytes() > t->offset)
      top.refuse("tensors", text(label_of(*last), " and ", label_of(*t), " overlap"), "every tensor at its own place");
    last = t;
  }
}

}  // namespace

Manifest parse_manifest(std::string const& s, std::string const& path) {
  JsonSource const source{.code = "checkpoint.manifest",
                          .file = path,
                          .begin = 0,
                          .fix = "the manifest is damaged or not Lamina's; use another checkpoint"};
  auto const json = parse_json(source, s);
  Fields const top(source, json, "");
  require_version(top, path);
  require_own_checksum(s, path);
  Manifest m;
  m.state.step = top.integer("step", 0, largest_step);
  m.state.tokens = top.integer("tokens", 0, largest);
  m.state.data_position = top.integer("data_position", 0, largest);
  Fields const rng(source, top.object("rng"), "rng");
  if (rng.string("generator") != "philox4x32-10") rng.refuse("generator", rng.string("generator"), "philox4x32-10");
  m.state.seed = rng.integer("seed", INT64_MIN, INT64_MAX);
  m.state.config = top.string("config");
  if (hash_field(top, "config_hash") != hash128(m.state.config))
    top.refuse("config_hash", top.string("config_hash"), hex(hash128(m.state.config)));
  m.state.layout = top.string("layout");
  if (top.has("tokenizer_hash")) m.state.tokenizer_hash = hex(hash_field(top, "tokenizer_hash"));
  m.files = parse_files(source, top);
  for (auto const& value : top.array("tensors"))
    m.tensors.push_back(parse_tensor(Fields(source, value, text("tensors[", m.tensors.size(), "]")), m.files));
  require_disjoint(top, m);
  return m;
}

Manifest read_manifest(std::string const& directory) {
  auto const path = text(directory, "/", manifest_name);
  return parse_manifest(io::read_text(path, largest_manifest, "checkpoint.load"), path);
}

}  // namespace lamina::checkpoint::detail
