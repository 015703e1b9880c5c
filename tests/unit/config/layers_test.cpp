#include "unit/config/config_test.hpp"

namespace lamina {
namespace {

using namespace test;

std::string network(std::string const& layers, std::string const& data = "kind = \"synthetic\"\n",
                    std::string const& input = "input = [20]\n") {
  return "[run]\ndir = \"x\"\n[model]\nkind = \"layers\"\n" + input + "layers = " + layers + "\n[data]\n" + data;
}

TEST(Layers, are_read_and_printed_as_written) {
  auto const c =
      config::parse(network("[{ name = \"part1.fc\", op = \"linear\", out = 500, bias = false },\n"
                            "{ op = \"relu\" }, { op = \"dropout\", p = 0.1 }, { op = \"linear\", out = 3 }]"),
                    "run.toml");
  ASSERT_EQ(c.model.network.size(), 4u);
  EXPECT_EQ(c.model.network[0], (config::LayerSpec{.op = "linear", .name = "part1.fc", .out = 500, .bias = false}));
  EXPECT_EQ(c.model.network[1], (config::LayerSpec{.op = "relu", .name = ""}));
  EXPECT_EQ(c.model.network[2].p, 0.1);
  EXPECT_EQ(c.model.input, std::vector<std::int64_t>{20});
  EXPECT_EQ(c.model.layers, 0);
  EXPECT_THAT(config::print(c),
              HasSubstr("layers = [{ name = \"part1.fc\", op = \"linear\", out = 500, bias = false }, "
                        "{ op = \"relu\" }, { op = \"dropout\", p = 0.1 }, "
                        "{ op = \"linear\", out = 3 }]\n"));
  auto again = config::parse(config::print(c), "printed");
  EXPECT_EQ(again, c);
  config::resolve(again, 3);
  EXPECT_EQ(config::parse(config::print(again), "resolved"), again);
}

TEST(Layers, can_be_given_as_array_of_tables_and_by_set) {
  auto const file =
      "[run]\ndir = \"x\"\n[data]\nkind = \"synthetic\"\n[model]\nkind = \"layers\"\ninput = [3, 4]\n"
      "[[model.layers]]\nop = \"flatten\"\n[[model.layers]]\nop = \"linear\"\nout = 7\n";
  EXPECT_EQ(config::parse(file, "run.toml").model.network.size(), 2u);
  auto const c = config::parse(file, "run.toml", {"model.layers=[{ op = \"linear\", out = 9 }]", "model.loss=mse"});
  ASSERT_EQ(c.model.network.size(), 1u);
  EXPECT_EQ(c.model.network[0].out, 9);
  EXPECT_EQ(c.model.loss, "mse");
}

TEST(Layers, with_a_mistake_are_refused_by_number_and_key) {
  struct Row {
    char const *layers, *part, *more;
  };
  for (auto const& [layers, part, more] : {
           Row{"[{ op = \"lineal\", out = 3 }]", "model.layers[0].op", "did you mean \"linear\"?"},
           Row{"[{ op = \"relu\" }, { out = 3 }]", "model.layers[1].op", "no such key"},
           Row{"[{ op = \"linear\" }]", "model.layers[0].out", "no such key"},
           Row{"[{ op = \"linear\", out = 0 }]", "model.layers[0].out", "an integer, 1 to"},
           Row{"[{ op = \"linear\", out = 2, bais = true }]", "model.layers[0].bais", "did you mean bias?"},
           Row{"[{ op = \"linear\", out = 2, bias = 1 }]", "model.layers[0].bias", "true or false"},
           Row{"[{ op = \"relu\", out = 2 }]", "model.layers[0].out", "op, name"},
           Row{"[{ op = \"dropout\", p = 1.0 }]", "model.layers[0].p", "0 to below 1"},
           Row{"[{ op = \"relu\", name = \"a..b\" }]", "model.layers[0].name", "a path of letters"},
           Row{"[3]", "model.layers[0]", "a table"},
           Row{"[]", "model.layers", "config.model.empty"},
           Row{"12", "model.layers is required", "a list of tables"},
       }) {
    EXPECT_THAT(problems(network(layers)), AllOf(HasSubstr("run.toml:6:1"), HasSubstr(part), HasSubstr(more)))
        << layers;
  }
  EXPECT_THAT(problems(network("[{ op = \"lineal\" }, { op = \"relu\" }, { op = \"linear\", out = 0, bais = 1 }]")),
              AllOf(HasSubstr("3 problems"), HasSubstr("model.layers[0].op"), HasSubstr("model.layers[2].out"),
                    HasSubstr("model.layers[2].bais")));
  EXPECT_THAT(problems(network("[{ op = \"relu\" }]", "kind = \"synthetic\"\n", "")),
              HasSubstr("model.input is required"));
  EXPECT_THAT(problems(network("[{ op = \"relu\" }]", "kind = \"synthetic\"\n", "input = [1, 1, 1, 1, 1, 1]\n")),
              HasSubstr("at most 5"));
  auto gpt = minimal();
  gpt.replace(gpt.find("layers = 2"), 10, "layers = [{ op = \"relu\" }]");
  EXPECT_THAT(problems(gpt), HasSubstr("the number of blocks"));
}

TEST(Kinds, refuse_keys_that_would_be_ignored_and_data_that_do_not_fit) {
  std::string const one = "[{ op = \"linear\", out = 3 }]";
  EXPECT_EQ(problems(network(one, "kind = \"table\"\ntrain = [\"a.csv\"]\nlabel = [\"y\"]\n")), "");
  EXPECT_EQ(problems(network(one)), "");
  EXPECT_THAT(problems(network(one, "kind = \"table\"\n")), HasSubstr("data.train is required"));
  EXPECT_THAT(problems(network(one, "kind = \"table\"\ntrain = []\n")), HasSubstr("config.data.empty"));
  EXPECT_THAT(problems(network(one, "kind = \"text\"\ntrain = [\"a\"]\n")), HasSubstr("config.data.model"));
  EXPECT_THAT(problem_of("data", "samples = 5"), HasSubstr("data.samples means nothing for data.kind = \"text\""));
  EXPECT_THAT(problem_of("model", "input = [5]"), HasSubstr("config.model.of_kind"));
  EXPECT_THAT(problems(network(one, "kind = \"synthetic\"\n", "input = [5]\nheads = 3\n")),
              HasSubstr("model.heads means nothing for model.kind = \"layers\""));
  auto table = minimal();
  table.replace(table.find("\"text\""), 6, "\"table\"");
  EXPECT_THAT(problems(table), HasSubstr("config.data.model"));
  // A registered model may use any key of [model], and any data.
  std::vector<config::CustomModel> const custom{{.kind = "own", .keys = {}}};
  auto own = minimal();
  own.replace(own.find("\"gpt\""), 5, "\"own\"");
  EXPECT_EQ(problems(own, {}, custom), "");
  EXPECT_EQ(problems(own, {"data.kind=table"}, custom), "");
}

}  // namespace
}  // namespace lamina
