// Every differentiable op: its backward against finite differences of its forward, and the fast kernels against the
// plain ones. This also joins what `graph` writes into steps with what `runtime` reads out of them.
#include <gtest/gtest.h>

#include <cmath>

#include "lamina/runtime/executor.hpp"
#include "support/kernel_cases.hpp"
#include "support/op_cases.hpp"
#include "support/program_of_graph.hpp"

namespace lamina {
namespace {

double get(TensorRef t, std::int64_t i) {
  switch (t.spec.dtype) {
    case DType::f32:
      return t.as<float>()[i];
    case DType::f64:
      return t.as<double>()[i];
    case DType::i32:
      return t.as<std::int32_t>()[i];
    case DType::i64:
      return static_cast<double>(t.as<std::int64_t>()[i]);
    default: {
      auto const bits = std::uint32_t{t.as<std::uint16_t>()[i]} << 16;
      float f = 0;
      std::memcpy(&f, &bits, sizeof f);
      return f;
    }
  }
}

/// One case with its memory.
class CaseRun {
 public:
  CaseRun(test::OpCase const& c, bool reference)
      : case_(c),
        made_(test::build_case(c)),
        program_(made_.graph, kernels::threads()),
        executor_(program_.set(), comm::Communicator::self(), {.reference_kernels = reference}) {
    for (std::size_t i = 0; i < c.in.size(); ++i) fill(at(made_.leaves[i]), c.in[i].low, c.in[i].high, i);
    for (std::size_t i = 0; i < made_.upstream.size(); ++i) fill(at(made_.upstream[i]), -1, 1, 100 + i);
  }

  TensorRef at(int value) const { return executor_.buffer(program_.name(value), program_.role(value)); }
  void run(char const* program) { executor_.run(program); }
  test::CaseGraph const& made() const { return made_; }

  /// The loss of the case, its sinks summed in f64.
  double loss() {
    executor_.run("forward");
    double sum = get(at(made_.loss), 0);
    for (auto const& node : made_.graph.nodes()) {
      if (node.op->kind() != "test_sink") continue;
      auto const y = at(node.in[0]), r = at(node.in[1]);
      for (std::int64_t i = 0; i < y.spec.count(); ++i) sum += get(y, i) * get(r, i);
    }
    return sum;
  }

 private:
  static void fill(TensorRef t, double low, double high, std::uint64_t seed) {
    for (std::int64_t i = 0; i < t.spec.count(); ++i) {
      double const u = Philox::uniform(Philox::word(seed, static_cast<std::uint64_t>(i), 1, 2));
      double const whole = low + std::floor(u * (high - low + 1));
      if (t.spec.dtype == DType::i32) {
        t.as<std::int32_t>()[i] = static_cast<std::int32_t>(whole);
      } else if (t.spec.dtype == DType::i64) {
        t.as<std::int64_t>()[i] = static_cast<std::int64_t>(whole);
      } else if (t.spec.dtype == DType::f32) {
        t.as<float>()[i] = static_cast<float>(low + u * (high - low));
      } else {
        auto const f = static_cast<float>(low + u * (high - low));
        std::uint32_t bits = 0;
        std::memcpy(&bits, &f, sizeof f);
        t.as<std::uint16_t>()[i] = static_cast<std::uint16_t>(bits >> 16);
      }
    }
  }

  test::OpCase const& case_;
  test::CaseGraph made_;
  test::ProgramOfGraph program_;
  runtime::Executor executor_;
};

double largest(TensorRef t) {
  double most = 0;
  for (std::int64_t i = 0; i < t.spec.count(); ++i) most = std::max(most, std::abs(get(t, i)));
  return most;
}

std::string name_of_case(::testing::TestParamInfo<test::OpCase> const& p) { return p.param.name; }

class Gradient : public ::testing::TestWithParam<test::OpCase> {};

TEST_P(Gradient, equals_finite_differences) {
  auto const& c = GetParam();
  CaseRun run(c, /*reference=*/true);
  run.loss();
  run.run("backward");
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    if (run.made().gradients[i] < 0) continue;
    auto const x = run.at(run.made().leaves[i]), g = run.at(run.made().gradients[i]);
    std::vector<double> gradient(static_cast<std::size_t>(g.spec.count()));
    for (std::size_t e = 0; e < gradient.size(); ++e) gradient[e] = get(g, static_cast<std::int64_t>(e));
    double const scale = std::max(1.0, largest(g)), delta = 0.01;
    auto const stride = std::max<std::int64_t>(1, g.spec.count() / 41);
    for (std::int64_t e = 0; e < g.spec.count(); e += stride) {
      auto& element = x.as<float>()[e];
      float const before = element;
      if (c.name == "relu" && std::abs(before) <= delta) continue;  // the kink
      element = static_cast<float>(before + delta);
      double const up = run.loss(), up_by = double{element} - before;
      element = static_cast<float>(before - delta);
      double const down = run.loss(), down_by = double{element} - before;
      element = before;
      EXPECT_NEAR(gradient[static_cast<std::size_t>(e)], (up - down) / (up_by - down_by), 2e-3 * scale)
          << c.in[i].name << " element " << e;
    }
  }
}

TEST_P(Gradient, accumulates_over_micro_batches) {
  auto const& c = GetParam();
  CaseRun once(c, /*reference=*/false), twice(c, /*reference=*/false);
  for (auto* run : {&once, &twice}) {
    run->loss();
    run->run("backward");
  }
  twice.run("backward_again");
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    int const gradient = once.made().gradients[i];
    if (gradient < 0 || c.in[i].use != test::OpCase::Use::parameter) continue;
    auto const a = once.at(gradient), b = twice.at(gradient);
    for (std::int64_t e = 0; e < a.spec.count(); ++e) {
      EXPECT_NEAR(2 * get(a, e), get(b, e), 1e-5 * std::max(1.0, largest(b))) << c.in[i].name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(of, Gradient, ::testing::ValuesIn(test::op_cases(DType::f32)), name_of_case);

class FastKernels : public ::testing::TestWithParam<test::OpCase> {};

TEST_P(FastKernels, compute_what_the_plain_ones_do) {
  auto const& c = GetParam();
  CaseRun fast(c, false), plain(c, true);
  for (auto* run : {&fast, &plain}) {
    run->loss();
    run->run("backward");
  }
  auto const& graph = fast.made().graph;
  for (auto const& node : graph.nodes()) {
    if (node.op->kind() == "test_sink") continue;
    for (int const v : node.out) {
      auto const a = fast.at(v), b = plain.at(v);
      bool const narrow =
          std::any_of(c.in.begin(), c.in.end(), [](auto const& x) { return x.spec.dtype == DType::bf16; });
      double const tolerance = (narrow ? 2e-2 : 2e-5) * std::max(1e-3, largest(b));
      std::int64_t wrong = 0;
      for (std::int64_t e = 0; e < a.spec.count(); ++e) wrong += !(std::abs(get(a, e) - get(b, e)) <= tolerance);
      EXPECT_EQ(wrong, 0) << graph.value(v).name << " of " << node.op->kind();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(f32, FastKernels, ::testing::ValuesIn(test::op_cases(DType::f32)), name_of_case);
INSTANTIATE_TEST_SUITE_P(bf16, FastKernels, ::testing::ValuesIn(test::op_cases(DType::bf16)), name_of_case);

}  // namespace
}  // namespace lamina
