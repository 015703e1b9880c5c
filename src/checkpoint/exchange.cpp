#include "lamina/checkpoint/exchange.hpp"

#include <algorithm>
#include <filesystem>

#include "checkpoint/detail/manifest.hpp"
#include "checkpoint/detail/safetensors.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "lamina/io/file.hpp"

namespace lamina::checkpoint {
namespace {

[[noreturn]] void refuse(std::string const& directory, std::string found) {
  fail({.code = "checkpoint.gpt2.sizes",
        .subject = directory,
        .found = std::move(found),
        .expected = "exactly the parameters of a GPT-2: learned positions, biases, no head bias",
        .fix = "export a run of kind = \"gpt\" with the defaults of [model]"});
}

Shape shape_of(detail::Manifest const& m, std::string const& directory, std::string const& name, int ndim) {
  auto const i = detail::find_tensor(m, name, Role::parameter);
  if (i < 0) refuse(directory, text("no parameter ", name));
  auto const& shape = m.tensors[static_cast<std::size_t>(i)].spec.shape;
  if (shape.ndim() != ndim) refuse(directory, text(name, " ", shape));
  return shape;
}

}  // namespace

SaveReport import_gpt2(std::string const& source, std::string const& run_dir, State state) {
  auto const directory = std::filesystem::is_directory(source) ? std::filesystem::path(source)
                                                               : std::filesystem::path(source).parent_path();
  auto const parameters = gpt2_parameters(read_hf_config(directory.empty() ? "." : directory.string()));
  auto const file = SafeTensors::open(source);
  std::vector<std::vector<float>> values;
  std::size_t largest = 0;
  for (auto const& p : parameters) {
    values.push_back(read_gpt2_parameter(file, p.name, p.shape));
    largest = std::max(largest, values.back().size());
  }
  std::vector<float> zeros(largest, 0.0f);  // all moments share it: a save only reads
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    auto const& [name, shape] = parameters[i];
    TensorSpec const spec{.dtype = DType::f32, .shape = shape};
    pieces.push_back({.name = name,
                      .role = Role::parameter,
                      .global_shape = shape,
                      .slabs = {},
                      .memory = {values[i].data(), spec}});
    for (auto const role : {Role::moment1, Role::moment2})
      pieces.push_back(
          {.name = name, .role = role, .global_shape = shape, .slabs = {}, .memory = {zeros.data(), spec}});
  }
  state.step = 0;
  return save(run_dir, state, pieces, {}, comm::Communicator::self());
}

HfSizes gpt2_sizes(std::string const& checkpoint_dir) {
  auto const m = detail::read_manifest(checkpoint_dir);
  auto const get = [&](char const* name, int ndim) { return shape_of(m, checkpoint_dir, name, ndim); };
  HfSizes s;
  s.vocab = get("embed.tokens.weight", 2)[0];
  s.context = get("embed.positions.weight", 2)[0];
  s.hidden = get("embed.tokens.weight", 2)[1];
  s.heads = get("blocks.0.attn.qkv.weight", 4)[1];
  s.ff = get("blocks.0.mlp.fc.weight", 2)[0];
  s.tied = detail::find_tensor(m, "head.weight", Role::parameter) < 0;
  while (detail::find_tensor(m, text("blocks.", s.layers, ".attn.qkv.weight"), Role::parameter) >= 0) ++s.layers;
  std::size_t parameters = 0;
  for (auto const& t : m.tensors) parameters += t.role == Role::parameter;
  auto const wanted = gpt2_parameters(s);
  for (auto const& p : wanted) {
    auto const shape = shape_of(m, checkpoint_dir, p.name, p.shape.ndim());
    if (shape != p.shape)
      refuse(checkpoint_dir, text(p.name, " ", shape, " where ", p.shape, " follows from the others"));
  }
  if (wanted.size() != parameters)
    refuse(checkpoint_dir, text(parameters, " parameters where a GPT-2 has ", wanted.size()));
  return s;
}

void export_gpt2(std::string const& checkpoint_dir, std::string const& directory) {
  export_gpt2(directory, gpt2_sizes(checkpoint_dir),
              [&](std::string const& name) { return read_tensor(checkpoint_dir, name, Role::parameter); });
}

std::string export_parameters(std::string const& checkpoint_dir, std::string const& directory) {
  auto const manifest = detail::read_manifest(checkpoint_dir);
  std::vector<detail::SafeTensorHead> heads;
  for (auto const& t : manifest.tensors) {
    if (t.role == Role::parameter) heads.push_back({.name = t.name, .shape = t.spec.shape});
  }
  io::make_directories(directory);
  auto const path = directory + "/model.safetensors";
  detail::write_safetensors_streamed(
      path, heads, [&](std::size_t i) { return read_tensor(checkpoint_dir, heads[i].name, Role::parameter); });
  return path;
}

std::vector<float> read_parameter(SafeTensors const& file, std::string const& name, Shape const& shape) {
  auto const entry = file.entries().find(name);
  if (entry != file.entries().end() && entry->second.shape != shape) {
    fail({.code = "checkpoint.safetensors.shape",
          .subject = text(entry->second.file, ": ", name),
          .found = text(entry->second.shape),
          .expected = text(shape, ", as the model has it"),
          .fix = "set the sizes of [model] to those of the file"});
  }
  return file.read(name);
}

}  // namespace lamina::checkpoint
