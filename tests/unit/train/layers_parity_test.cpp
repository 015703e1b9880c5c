// Networks of layers against PyTorch: tests/data/train/make_layers.py wrote the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/kernel_cases.hpp"
#include "support/train_run.hpp"

namespace lamina {
namespace {

using nlohmann::json;

json const& reference() {
  static auto const all = json::parse(std::ifstream(LAMINA_TEST_DATA "/train/layers_small.json"));
  return all;
}

/// In [-1, 1).
float uniform(std::uint32_t key, std::uint32_t index) {
  return static_cast<float>(test::scramble(index + test::scramble(key)) >> 8) * 0x1p-23f - 1.0f;
}

/// The data of the script.
class FormulaNumbers final : public data::Source {
 public:
  FormulaNumbers(std::int64_t features, std::int64_t outputs, bool values)
      : features_(features), outputs_(outputs), values_(values) {}
  std::int64_t samples() const override { return reference().at("samples").get<std::int64_t>(); }
  std::vector<data::Field> fields() const override {
    std::vector<data::Field> fields{{.name = "x", .sample = {DType::f32, {features_}}},
                                    {.name = "y", .sample = {DType::i32, {}}, .padding = 0xff}};
    if (!values_) return fields;
    fields[1] = {.name = "y", .sample = {DType::f32, {outputs_}}};
    fields.push_back({.name = "counted", .sample = {DType::i32, {}}, .padding = 0xff});
    return fields;
  }
  void fill(std::int64_t sample, std::span<void* const> to) const override {
    auto const row = [&](std::uint32_t key, std::int64_t width, void* out) {
      for (std::int64_t i = 0; i < width; ++i) {
        static_cast<float*>(out)[i] = uniform(key, static_cast<std::uint32_t>(sample * width + i));
      }
    };
    row(100, features_, to[0]);
    if (values_) {
      row(200, outputs_, to[1]);
      *static_cast<std::int32_t*>(to[2]) = 0;
      return;
    }
    auto const i = static_cast<std::uint32_t>(sample);
    auto const label = test::scramble(300 + i) % static_cast<std::uint32_t>(outputs_);
    *static_cast<std::int32_t*>(to[1]) = test::scramble(400 + i) % 5 == 0 ? -1 : static_cast<std::int32_t>(label);
  }

 private:
  std::int64_t features_, outputs_;
  bool values_;
};

config::RunConfig config_of(std::string const& loss, std::string const& optimizer, std::int64_t micro) {
  config::RunConfig c;
  c.run.dir = "unused", c.run.steps = 20;
  c.model.kind = "layers", c.model.loss = loss;
  if (loss == "mse") {
    c.model.input = {7};
    c.model.network = {{.op = "linear", .name = "layer0", .out = 9},
                       {.op = "gelu", .name = "layer1"},
                       {.op = "linear", .name = "layer2", .out = 3}};
  } else {
    c.model.input = {13};
    c.model.network = {{.op = "linear", .name = "layer0", .out = 17},
                       {.op = "relu", .name = "layer1"},
                       {.op = "layer_norm", .name = "layer2"},
                       {.op = "linear", .name = "layer3", .out = 5}};
  }
  c.data.shuffle = false;
  c.batch.global = reference().at("batch").get<std::int64_t>(), c.batch.micro = micro;
  c.optimizer.kind = optimizer, c.optimizer.lr = reference().at("lr").at(optimizer).get<double>();
  c.optimizer.clip_norm = 0;
  c.lr_schedule.kind = "constant";
  c.memory.limit = std::int64_t{1} << 30;
  return c;
}

struct Case {
  std::string loss, optimizer;
  std::int64_t micro = 10;
};
void PrintTo(Case const& c, std::ostream* out) { *out << c.loss << '_' << c.optimizer << '_' << c.micro; }

class LayersParity : public ::testing::TestWithParam<Case> {};

TEST_P(LayersParity, of_gradients_and_of_twenty_losses) {
  auto const& c = GetParam();
  auto const config = config_of(c.loss, c.optimizer, c.micro);
  FormulaNumbers const source(models::layers_input(config.model), models::layers_outputs(config.model),
                              c.loss == "mse");
  test::TrainRun run(config, comm::Communicator::self(), source);
  std::uint32_t key = 0;
  for (auto const& name : run.parameters()) {
    ++key;
    auto values = run.values(name, Role::parameter);
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      values[i] = 0.4f * uniform(key, i);
    }
  }
  run.refresh();
  auto const& runs = reference().at("runs");
  auto const find = [&](std::string const& optimizer) -> json const& {
    for (auto const& r : runs) {
      if (r.at("loss") == c.loss && r.at("optimizer") == optimizer) return r;
    }
    throw std::out_of_range(c.loss);
  };
  auto const& expected = find(c.optimizer);
  double last = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    auto const r = run.step();
    EXPECT_NEAR(r.loss / expected.at("losses")[i].get<double>(), 1, 1e-5) << "step " << i + 1;
    EXPECT_NEAR(r.grad_norm / expected.at("grad_norms")[i].get<double>(), 1, 1e-4) << "step " << i + 1;
    last = r.loss;
    if (i > 0) continue;
    auto const& gradients = find("adamw").at("gradients");
    EXPECT_EQ(gradients.size(), run.parameters().size());
    for (auto const& [name, g] : gradients.items()) {
      auto const ours = run.values(name, Role::gradient);
      ASSERT_EQ(g.size(), ours.size()) << name;
      for (std::size_t e = 0; e < g.size(); ++e) {
        EXPECT_NEAR(ours[e] / static_cast<double>(r.targets), g[e].get<double>(), 2e-6 * r.grad_norm)
            << name << ' ' << e;
      }
    }
  }
  EXPECT_LT(last, 0.95 * expected.at("losses")[0].get<double>()) << "nothing was learnt";
}

INSTANTIATE_TEST_SUITE_P(with_pytorch, LayersParity,
                         ::testing::Values(Case{"cross_entropy", "adamw"}, Case{"cross_entropy", "sgd"},
                                           Case{"mse", "adamw"}, Case{"mse", "sgd"},
                                           // 10 samples in micro-batches of 4 and of 3: the last ones are padded
                                           Case{"cross_entropy", "adamw", 4}, Case{"mse", "sgd", 3}),
                         [](auto const& p) {
                           return p.param.loss + p.param.optimizer + std::to_string(p.param.micro);
                         });

}  // namespace
}  // namespace lamina
