#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "lamina/checkpoint/exchange.hpp"
#include "support/checkpoint_cases.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::checkpoint {
namespace {

std::string const data = std::string(LAMINA_TEST_DATA) + "/checkpoint";
HfSizes const tiny{.layers = 2, .hidden = 8, .heads = 2, .context = 6, .vocab = 11, .ff = 20, .tied = true};

TEST(Gpt2, config_gives_the_sizes) { EXPECT_EQ(read_hf_config(data + "/gpt2_tiny"), tiny); }

TEST(Gpt2, parameters_are_the_ones_that_torch_cuts_out_of_the_file_with_and_without_prefix_and_buffers) {
  auto const wanted = SafeTensors::open(data + "/lamina.safetensors");
  for (char const* name : {"/gpt2_tiny", "/gpt2_tiny_bare"}) {
    auto const file = SafeTensors::open(data + name);
    auto const parameters = gpt2_parameters(tiny);
    EXPECT_EQ(parameters.size(), wanted.entries().size());
    for (auto const& p : parameters) {
      ASSERT_EQ(wanted.entries().at(p.name).shape, p.shape) << p.name;
      EXPECT_EQ(read_gpt2_parameter(file, p.name, p.shape), wanted.read(p.name)) << name << " " << p.name;
    }
  }
}

TEST(Gpt2, a_tied_head_is_read_from_the_embedding) {
  auto const file = SafeTensors::open(data + "/gpt2_tiny");
  EXPECT_EQ(read_gpt2_parameter(file, "head.weight", {11, 8}),
            read_gpt2_parameter(file, "embed.tokens.weight", {11, 8}));
}

TEST(Gpt2, a_shorter_context_takes_the_first_positions_and_a_longer_one_is_refused) {
  auto const file = SafeTensors::open(data + "/gpt2_tiny");
  auto all = read_gpt2_parameter(file, "embed.positions.weight", {6, 8});
  all.resize(4 * 8);
  EXPECT_EQ(read_gpt2_parameter(file, "embed.positions.weight", {4, 8}), all);
  auto const longer = test::error_of([&] { read_gpt2_parameter(file, "embed.positions.weight", {7, 8}); });
  EXPECT_EQ(longer.code, "checkpoint.gpt2.shape");
}

TEST(Gpt2, names_shapes_and_files_that_do_not_fit_are_refused) {
  auto const file = SafeTensors::open(data + "/gpt2_tiny");
  auto const code = [&](std::string const& name, Shape const& shape) {
    return test::error_of([&] { read_gpt2_parameter(file, name, shape); }).code;
  };
  for (char const* name : {"head.bias", "blocks.0", "blocks.0.attn", "blocks.0.attn.gate.weight", "", "embed"})
    EXPECT_EQ(code(name, {8}), "checkpoint.gpt2.name") << name;
  EXPECT_EQ(code("blocks.2.attn.norm.weight", {8}), "checkpoint.gpt2.missing");
  EXPECT_EQ(code("blocks.0.attn.norm.weight", {9}), "checkpoint.gpt2.shape");
  EXPECT_EQ(code("embed.tokens.weight", {8, 11}), "checkpoint.gpt2.shape");
}

TEST(Gpt2, configs_of_other_models_are_refused_with_what_differs) {
  auto const original = nlohmann::json::parse(test::read_file(data + "/gpt2_tiny/config.json"));
  test::TemporaryDirectory const directory;
  auto const code = [&](auto const& change) {
    auto config = original;
    change(config);
    test::write_file(directory / "config.json", config.dump());
    return test::error_of([&] { read_hf_config(directory.path()); }).code;
  };
  EXPECT_EQ(code([](auto& c) { c["model_type"] = "llama"; }), "checkpoint.hugging_face.model_type");
  EXPECT_EQ(code([](auto& c) { c["activation_function"] = "relu"; }), "checkpoint.hugging_face.activation");
  EXPECT_EQ(code([](auto& c) { c["layer_norm_epsilon"] = 1e-6; }), "checkpoint.hugging_face.option");
  EXPECT_EQ(code([](auto& c) { c["scale_attn_weights"] = false; }), "checkpoint.hugging_face.option");
  EXPECT_EQ(code([](auto& c) { c["n_head"] = 3; }), "checkpoint.hugging_face.sizes");
  EXPECT_EQ(code([](auto& c) { c["n_layer"] = -1; }), "checkpoint.hugging_face.field");
  EXPECT_EQ(code([](auto& c) { c.erase("n_embd"); }), "checkpoint.hugging_face.field");
  EXPECT_EQ(code([](auto& c) { c = "gpt2"; }), "checkpoint.hugging_face.field");
  test::write_file(directory / "config.json", "{\"n_layer\":1,\"n_layer\":2}");
  EXPECT_EQ(test::error_of([&] { read_hf_config(directory.path()); }).code, "checkpoint.hugging_face.duplicate_key");
  EXPECT_EQ(test::error_of([&] { read_hf_config(directory / "none"); }).code, "checkpoint.hugging_face.config");
}

TEST(Gpt2, default_feed_forward_is_four_times_hidden) {
  auto config = nlohmann::json::parse(test::read_file(data + "/gpt2_tiny/config.json"));
  config["n_inner"] = nullptr;
  test::TemporaryDirectory const directory;
  test::write_file(directory / "config.json", config.dump());
  EXPECT_EQ(read_hf_config(directory.path()).ff, 32);
}

TEST(Gpt2, import_of_export_gives_the_same_bits_tied_or_not) {
  for (bool const tied : {true, false}) {
    auto sizes = tiny;
    sizes.tied = tied;
    test::TemporaryDirectory const directory;
    std::map<std::string, std::vector<float>> values;
    for (auto const& p : gpt2_parameters(sizes)) {
      auto& v = values[p.name];
      for (std::int64_t i = 0; i < p.shape.count(); ++i)
        v.push_back(static_cast<float>(p.name.size() * 1000) + static_cast<float>(i));
    }
    export_gpt2(directory.path(), sizes, [&](std::string const& name) { return values.at(name); });
    EXPECT_EQ(read_hf_config(directory.path()), sizes);
    auto const file = SafeTensors::open(directory.path());
    EXPECT_EQ(file.has("lm_head.weight"), !tied);
    for (auto const& p : gpt2_parameters(sizes))
      EXPECT_EQ(read_gpt2_parameter(file, p.name, p.shape), values.at(p.name)) << p.name;
  }
}

TEST(Gpt2, files_of_transformers_pass_through_a_checkpoint_and_come_out_with_the_same_tensors) {
  test::TemporaryDirectory const directory;
  auto state = test::make_state(17);
  auto const report = import_gpt2(data + "/gpt2_tiny", directory / "run", state);
  EXPECT_EQ(report.directory, directory / "run/checkpoints/step-00000000");
  EXPECT_TRUE(verify(report.directory).empty());
  auto const listing = list(directory / "run");
  ASSERT_EQ(listing.size(), 1u);
  EXPECT_EQ(listing[0].state.step, 0);
  EXPECT_EQ(listing[0].state.config, state.config);
  EXPECT_EQ(listing[0].tensors.size(), 3 * gpt2_parameters(tiny).size());
  for (float const x : read_tensor(report.directory, "blocks.1.mlp.fc.weight", Role::moment2)) EXPECT_EQ(x, 0.0f);
  EXPECT_EQ(gpt2_sizes(report.directory), tiny);
  export_gpt2(report.directory, directory / "out");
  auto const before = SafeTensors::open(data + "/gpt2_tiny"), after = SafeTensors::open(directory / "out");
  ASSERT_EQ(before.entries().size(), after.entries().size());
  for (auto const& [name, e] : before.entries()) {
    EXPECT_EQ(after.entries().at(name).shape, e.shape) << name;
    EXPECT_EQ(after.read(name), before.read(name)) << name;
  }
}

TEST(Gpt2, a_checkpoint_of_another_model_is_not_exported) {
  test::TemporaryDirectory const directory;
  auto shard = test::make_shard(test::Split::replicated, 0, 1, 3);
  auto const report = save(directory / "run", test::make_state(3), shard.pieces(), {}, comm::Communicator::self());
  EXPECT_EQ(test::error_of([&] { export_gpt2(report.directory, directory / "out"); }).code, "checkpoint.gpt2.sizes");
  EXPECT_FALSE(std::filesystem::exists(directory / "out"));
}

}  // namespace
}  // namespace lamina::checkpoint
