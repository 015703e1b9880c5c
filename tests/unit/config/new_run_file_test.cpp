#include "lamina/config/new_run_file.hpp"

#include "unit/config/config_test.hpp"

namespace lamina {
namespace {

using namespace test;

TEST(NewRunFile, of_every_preset_is_accepted) {
  ASSERT_GE(config::presets().size(), 4u);
  for (auto const& preset : config::presets()) {
    auto c = config::parse(config::new_run_file({.model = preset.name, .data = {}, .dir = ""}), preset.name);
    EXPECT_EQ(c.model.layers, preset.model.layers);
    EXPECT_EQ(c.run.dir, "runs/" + preset.name);
    config::resolve(c, 2);
    EXPECT_EQ(c.mesh.dp, 2);
  }
}

TEST(NewRunFile, still_works_with_every_comment_line_made_active) {
  auto file = config::new_run_file({.model = "gpt2-124m", .data = {"a.bin"}, .dir = "here"});
  auto const before = config::parse(file, "new.toml");
  std::string active;
  int uncommented = 0;
  for (auto const& line : split(file, '\n')) {
    bool const key = line.starts_with("# ") && line.find(" = ") != line.npos;
    uncommented += key;
    active += (key ? line.substr(2) : line) + "\n";
  }
  EXPECT_GT(uncommented, 20);
  EXPECT_EQ(config::parse(active, "active.toml"), before) << "a comment shows the default";
}

TEST(NewRunFile, takes_kind_and_vocabulary_from_the_data) {
  auto const of = [](std::vector<std::string> data) {
    return config::parse(config::new_run_file({.model = "gpt-tiny", .data = std::move(data), .dir = "d \"q\""}), "new");
  };
  auto const shards = of({"x/train_*.bin", "b.bin"});
  EXPECT_EQ(shards.data.kind, "tokens");
  EXPECT_EQ(shards.model.vocab, 50257);
  EXPECT_EQ(shards.data.train, (std::vector<std::string>{"x/train_*.bin", "b.bin"}));
  EXPECT_EQ(shards.run.dir, "d \"q\"");
  EXPECT_EQ(of({"my.idx"}).data.kind, "tokens");
  auto const table = config::parse(config::new_run_file({.model = "mlp", .data = {"digits.csv.gz"}, .dir = ""}), "new");
  EXPECT_EQ(table.data.kind, "table");
  EXPECT_EQ(table.model.network.size(), 3u);
  EXPECT_EQ(config::parse(config::new_run_file({.model = "mlp", .data = {}, .dir = ""}), "new").data.kind, "synthetic");
  auto const plain = of({"book.txt"});
  EXPECT_EQ(plain.data.kind, "text");
  EXPECT_EQ(plain.model.vocab, 0);
}

TEST(NewRunFile, an_unknown_model_names_the_nearest) {
  try {
    config::new_run_file({.model = "gpt2-124", .data = {}, .dir = ""});
    FAIL() << "there is no such preset";
  } catch (Error const& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("config.new.model"), HasSubstr("did you mean gpt2-124m?")));
  }
}

TEST(KeyHelp, lists_every_key_once_with_its_help) {
  auto const keys = config::key_help({{.kind = "mlp", .keys = {{.name = "width", .default_value = 2.5, .help = "h"}}}});
  auto const find = [&](std::string const& name) {
    auto const at = std::find_if(keys.begin(), keys.end(), [&](auto const& k) { return k.name == name; });
    return at == keys.end() ? config::KeyHelp{} : *at;
  };
  EXPECT_EQ(find("optimizer.lr").default_value, "6e-4");
  EXPECT_EQ(find("model.kind").choices, (std::vector<std::string>{"gpt", "layers", "mlp"}));
  EXPECT_EQ(find("parallel.transport").choices, (std::vector<std::string>{"auto", "mpi"}));
  EXPECT_EQ(find("model.tied").choices, (std::vector<std::string>{"true", "false"}));
  EXPECT_THAT(find("model.layers").takes, HasSubstr("list of tables"));
  EXPECT_EQ(find("run.dir").default_value, "");
  EXPECT_EQ(find("model.width").default_value, "2.5");
  for (auto const& key : keys) EXPECT_FALSE(key.help.empty() || key.takes.empty()) << key.name;
}

}  // namespace
}  // namespace lamina
