#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/detail/safetensors.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/checkpoint/safetensors.hpp"
#include "lamina/io/file.hpp"

namespace lamina::checkpoint {
namespace {

constexpr char site[] = "checkpoint.export";

/// Length, JSON, spaces up to a multiple of 8: the data are aligned when the file is mapped.
std::string header_of(std::string const& path, std::vector<detail::SafeTensorHead> const& heads) {
  nlohmann::ordered_json json;
  json["__metadata__"] = {{"format", "pt"}};
  std::int64_t at = 0;
  for (auto const& h : heads) {
    if (json.contains(h.name)) {
      fail({.code = "checkpoint.export.name",
            .subject = path,
            .found = text("tensor '", h.name, "' twice"),
            .expected = "every tensor once, none called __metadata__",
            .fix = "rename one of them"});
    }
    auto const bytes = 4 * h.shape.count();
    auto shape = nlohmann::ordered_json::array();
    for (auto const extent : h.shape.extents()) shape.push_back(extent);
    json[h.name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  auto s = json.dump();
  s.resize((s.size() + 7) / 8 * 8, ' ');
  std::uint64_t const length = s.size();
  return std::string(reinterpret_cast<char const*>(&length), 8) + s;
}

void require_count(std::string const& path, detail::SafeTensorHead const& head, std::size_t found) {
  if (head.shape.count() == static_cast<std::int64_t>(found)) return;
  fail({.code = "checkpoint.export.size",
        .subject = text(path, ": ", head.name),
        .found = text(found, " elements"),
        .expected = text(head.shape.count(), " of shape ", head.shape),
        .fix = "correct the shape or the data"});
}

}  // namespace

namespace detail {

void write_safetensors_streamed(std::string const& path, std::vector<SafeTensorHead> const& heads,
                                std::function<std::vector<float>(std::size_t)> const& data) {
  auto const header = header_of(path, heads);
  auto const temporary = text(path, ".tmp-", ::getpid());
  io::remove_tree(temporary);
  try {
    {
      auto const file = io::File::open(temporary, io::Mode::create, site);
      auto at = static_cast<std::int64_t>(header.size());
      auto end = at;
      for (auto const& h : heads) end += 4 * h.shape.count();
      file.preallocate(end);
      file.write(header.data(), at, 0);
      for (std::size_t i = 0; i < heads.size(); ++i) {
        auto const values = data(i);
        require_count(path, heads[i], values.size());
        auto const bytes = static_cast<std::int64_t>(4 * values.size());
        file.write(values.data(), bytes, at);
        at += bytes;
      }
      file.sync();
    }
    io::rename(temporary, path, site);
  } catch (...) {
    io::remove_tree_quietly(temporary);
    throw;
  }
  auto const parent = std::filesystem::path(path).parent_path();
  io::sync_directory(parent.empty() ? "." : parent.string(), site);
}

}  // namespace detail

void write_safetensors(std::string const& path, std::vector<NamedTensor> const& tensors) {
  std::vector<detail::SafeTensorHead> heads;
  for (auto const& t : tensors) {
    heads.push_back({.name = t.name, .shape = t.shape});
    require_count(path, heads.back(), t.data->size());
  }
  detail::write_safetensors_streamed(path, heads, [&](std::size_t i) { return *tensors[i].data; });
}

}  // namespace lamina::checkpoint
