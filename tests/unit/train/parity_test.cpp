// Against PyTorch without PyTorch: tests/data/train/parity_small.json holds what make_parity.py beside it computed in
// f64 from the same weights and tokens.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/kernel_thread.hpp"
#include "support/train_run.hpp"

namespace lamina {
namespace {

using Json = nlohmann::json;

Json const& reference() {
  static Json const json = Json::parse(std::ifstream(LAMINA_TEST_DATA "/train/parity_small.json"));
  return json;
}

config::RunConfig run_of_reference(char const* compute) {
  auto const& s = reference().at("settings");
  auto const whole = [&](char const* key) { return s.at(key).get<std::int64_t>(); };
  auto const real = [&](char const* key) { return s.at(key).get<double>(); };
  auto c = test::small_run();
  c.run.steps = whole("steps");
  c.model.layers = whole("layers"), c.model.hidden = whole("hidden"), c.model.heads = whole("heads");
  c.model.ff = whole("ff"), c.model.vocab = whole("vocab"), c.model.context = whole("context");
  c.data.shuffle = false;
  c.batch.global = whole("batch"), c.batch.micro = whole("micro");
  c.optimizer = {.lr = real("lr"), .weight_decay = real("weight_decay"), .clip_norm = real("clip")};
  c.lr_schedule.warmup_steps = whole("warmup_steps"), c.lr_schedule.min = real("min_lr");
  c.precision.compute = compute;
  return c;
}

test::FormulaTokens tokens_of(config::RunConfig const& c) {
  return {reference().at("settings").at("samples").get<std::int64_t>(), c.model.context, c.model.vocab};
}

/// Element `e` of parameter `index` of the reference's list.
float formula(std::uint32_t index, std::string const& name, std::uint32_t e) {
  double const u = test::scramble(e + test::scramble(index + 1)) / 4294967296.0 - 0.5;
  if (name.ends_with("norm.weight")) return static_cast<float>(1 + 0.2 * u);
  return static_cast<float>((name.ends_with("bias") ? 0.05 : 0.07) * u);
}

void set_weights(train::Session& session) {
  std::uint32_t index = 0;
  for (auto const& g : reference().at("gradients")) {
    auto const name = g.at("name").get<std::string>();
    auto const t = session.executor().buffer(name, Role::parameter);
    for (std::uint32_t e = 0; e < t.spec.count(); ++e) t.as<float>()[e] = formula(index, name, e);
    ++index;
  }
  if (session.executor().has_program("refresh")) session.executor().run("refresh");
}

/// Estimates ||x - y|| from projections of x on 8 vectors of signs: their mean square difference has that expectation.
double difference(Json const& projections_of_y, std::span<double const> x) {
  std::array<double, 8> sums{};
  for (std::uint32_t e = 0; e < x.size(); ++e) {
    auto const signs = test::scramble(e + 77777u);
    for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += (signs >> j & 1) ? -x[e] : x[e];
  }
  double square = 0;
  for (std::size_t j = 0; j < sums.size(); ++j) square += std::pow(sums[j] - projections_of_y[j].get<double>(), 2);
  return std::sqrt(square / static_cast<double>(sums.size()));
}

double norm_of(std::span<double const> x) {
  double square = 0;
  for (double const v : x) square += v * v;
  return std::sqrt(square);
}

TEST(Parity, of_logits) {
  auto config = run_of_reference("f32");
  auto const source = tokens_of(config);
  config::resolve(config, 1);
  auto const length = config.model.context;
  train::Session session(
      config, comm::Communicator::self(),
      {.purpose = plan::Purpose::generate, .registered = {}, .generate = {.batch = 1, .chunk = length}, .threads = 1});
  session.initialise();
  set_weights(session);
  auto& executor = session.executor();
  std::vector<std::int32_t> targets(static_cast<std::size_t>(length));
  source.read(0, executor.buffer("prefill.tokens", Role::input).as<std::int32_t>(), targets.data());
  *executor.buffer("position", Role::input).as<std::int32_t>() = 0;
  EXPECT_EQ(reference().at("logits").size(), 3u);
  for (auto const& at : reference().at("logits")) {
    *executor.buffer("last", Role::input).as<std::int32_t>() = at.at("position").get<std::int32_t>();
    executor.run("prefill");
    auto const logits = executor.buffer("prefill.logits", Role::output);
    std::vector<double> const all(logits.as<float>(), logits.as<float>() + logits.spec.count());
    EXPECT_EQ(std::ssize(all), config.model.vocab);
    double const norm = at.at("norm").get<double>();
    EXPECT_LE(difference(at.at("projections"), all), 1e-4 * norm);
    auto const& some = at.at("every_16th");
    for (std::size_t i = 0; i < some.size(); ++i) EXPECT_NEAR(all[16 * i], some[i].get<double>(), 1e-4);
  }
}

TEST(Parity, of_the_gradient_of_every_parameter) {
  auto const config = run_of_reference("f32");
  auto const source = tokens_of(config);
  test::TrainRun run(config, comm::Communicator::self(), source);
  set_weights(run.session);
  auto const first = run.step();
  auto const& gradients = reference().at("gradients");
  EXPECT_EQ(run.parameters().size(), gradients.size());
  double total = 0;
  for (auto const& g : gradients) total += std::pow(g.at("norm").get<double>(), 2);
  EXPECT_NEAR(first.grad_norm / std::sqrt(total), 1, 1e-5);
  for (auto const& g : gradients) {
    auto const name = g.at("name").get<std::string>();
    auto const values = run.values(name, Role::gradient);
    std::vector<double> mean(values.begin(), values.end());  // of the sum over targets
    for (auto& v : mean) v /= static_cast<double>(first.targets);
    double const scale = std::max(g.at("norm").get<double>(), 1e-3 * std::sqrt(total));
    EXPECT_LE(difference(g.at("projections"), mean), 1e-4 * scale) << name;
    EXPECT_NEAR(norm_of(mean), g.at("norm").get<double>(), 1e-4 * scale) << name;
    auto const& some = g.at("elements");
    for (std::size_t i = 0; i < some.size(); ++i) {
      EXPECT_NEAR(mean[i * (mean.size() / 3)], some[i].get<double>(), 1e-4 * scale) << name << ' ' << i;
    }
  }
}

TEST(Parity, of_fifty_steps_of_adamw_with_clipping_and_schedule) {
  auto const config = run_of_reference("f32");
  auto const source = tokens_of(config);
  test::TrainRun run(config, comm::Communicator::self(), source);
  set_weights(run.session);
  auto const &losses = reference().at("losses"), &norms = reference().at("grad_norms");
  EXPECT_EQ(losses.size(), 50u);
  double loss = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    auto const r = run.step();
    loss = r.loss;
    EXPECT_NEAR(loss / losses[i].get<double>(), 1, 1e-4) << "step " << i + 1;
    EXPECT_NEAR(r.grad_norm / norms[i].get<double>(), 1, 1e-3) << "step " << i + 1;
  }
  EXPECT_LE(loss, 0.8 * losses[0].get<double>());
  std::uint32_t index = 0;
  for (auto const& m : reference().at("moved")) {
    auto const name = m.at("name").get<std::string>();
    auto const values = run.values(name, Role::parameter);
    std::vector<double> moved(values.begin(), values.end());
    for (std::uint32_t e = 0; e < moved.size(); ++e) moved[e] -= formula(index, name, e);
    ++index;
    // The loss does not depend on the biases of keys: their gradient is rounding, which Adam makes large.
    if (!name.ends_with("qkv.bias")) {
      EXPECT_LE(difference(m.at("projections"), moved), 1e-3 * m.at("norm").get<double>()) << name;
    }
  }
}

TEST(Parity, in_bf16_stays_within_a_hundredth_of_the_loss) {
  auto const config = run_of_reference("bf16");
  auto const source = tokens_of(config);
  test::TrainRun run(config, comm::Communicator::self(), source);
  set_weights(run.session);
  auto const& losses = reference().at("losses");
  double furthest = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    double const loss = run.step().loss / losses[i].get<double>();
    EXPECT_NEAR(loss, 1, 1e-2) << "step " << i + 1;
    furthest = std::max(furthest, std::abs(loss - 1));
  }
  EXPECT_GT(furthest, 1e-6) << "this was not bf16";
}

}  // namespace
}  // namespace lamina
