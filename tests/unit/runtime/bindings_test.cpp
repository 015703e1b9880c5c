// Ops without a gradient (updates, fused ones, generation): the step that `graph` describes, run with fast and with
// plain kernels. With gradients_test.cpp every row of the table is run; the last test here checks that.
#include <gtest/gtest.h>

#include <cmath>

#include "lamina/base/error.hpp"
#include "lamina/graph/ops/attention.hpp"
#include "lamina/graph/ops/cross_entropy.hpp"
#include "lamina/graph/ops/exact.hpp"
#include "lamina/graph/ops/mse.hpp"
#include "lamina/graph/ops/update.hpp"
#include "lamina/runtime/executor.hpp"
#include "lamina/tensor/packed.hpp"
#include "runtime/detail/operands.hpp"
#include "support/kernel_cases.hpp"
#include "support/op_cases.hpp"
#include "support/program_of_graph.hpp"

namespace lamina {
namespace {

constexpr auto f32 = DType::f32;

struct Case {
  std::string name;
  graph::OpPtr op;
  std::vector<TensorSpec> in;
  std::vector<std::vector<double>> values;  ///< of an input; empty: numbers in (-1, 1) or, of integers, 0 .. 4
};

void PrintTo(Case const& c, std::ostream* out) { *out << c.name; }

std::vector<Case> cases() {
  using namespace graph;
  TensorSpec const hyper{DType::f64, {4}}, x{f32, {2, 3, 5}}, d{f32, {5}}, one{DType::i32, {1}};
  TensorSpec const targets{DType::i32, {2, 3}}, row{f32, {2, 3}}, w{f32, {7, 5}}, v{f32, {7}};
  std::vector<double> const step_3{0.01, 3, 0.5, 0};
  ExactSums const sums{36, 1000};
  auto const exact = [&](OpPtr op) { return std::make_shared<Exact>(std::move(op), sums, ~0u, sums); };
  auto const linear_gelu = [](std::string activation) {
    return std::make_shared<LinearGelu>(LinearAttrs{.bias = true, .contract = 1, .rows_dims = 2, .dtype = f32},
                                        activation);
  };
  return {
      {"adamw",
       std::make_shared<AdamW>(AdamW::Attrs{.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-8, .weight_decay = 0.1}),
       {x, x, x, x, hyper},
       {{}, {}, {}, std::vector<double>(30, 0.25), step_3}},
      {"sgd",
       std::make_shared<Sgd>(Sgd::Attrs{.momentum = 0.9, .weight_decay = 0.1}),
       {x, x, x, hyper},
       {{}, {}, {}, step_3}},
      {"square_norm", std::make_shared<SquareNorm>(3), {x, w, v}, {}},
      {"add_layer_norm", std::make_shared<AddLayerNorm>(LayerNorm::Attrs{.eps = 1e-5, .dtype = f32}), {x, x, d, d}, {}},
      {"linear_gelu", linear_gelu("gelu"), {x, w, v}, {}},
      {"linear_relu", linear_gelu("relu"), {x, w, v}, {}},
      {"head_loss", std::make_shared<HeadLoss>(HeadAttrs{.bias = false, .dtype = f32}), {x, w, targets}, {}},
      {"head_loss_bias", std::make_shared<HeadLoss>(HeadAttrs{.bias = true, .dtype = f32}), {x, w, v, targets}, {}},
      {"attention_cached",
       std::make_shared<AttentionCached>(),
       {{f32, {2, 3, 3, 2, 5}}, {f32, {2, 2, 8, 5}}, {f32, {2, 2, 8, 5}}, one},
       {{}, {}, {}, {4}}},
      {"select_token", std::make_shared<SelectToken>(), {x, one}, {{}, {2}}},
      {"cross_entropy", std::make_shared<CrossEntropy>(), {x, targets}, {}},
      {"cross_entropy_grad", std::make_shared<CrossEntropyGrad>(), {x, targets}, {}},
      {"accuracy", std::make_shared<Accuracy>(), {x, targets}, {}},
      {"mse", std::make_shared<Mse>(), {x, x, {DType::i32, {2}}}, {}},
      {"mse_grad", std::make_shared<MseGrad>(), {x, x, {DType::i32, {2}}}, {}},
      {"exact_linear", exact(std::make_shared<Linear>(LinearAttrs{})), {x, w, v}, {}},
      {"exact_head_loss_grad", exact(std::make_shared<HeadLossGrad>(HeadAttrs{})), {x, w, targets, row, row}, {}},
      {"exact_square_norm", std::make_shared<SquareNorm>(2, true), {x, w}, {}},
      {"head_loss_sum", std::make_shared<HeadLossSum>(HeadLossSum::Attrs{true, sums, sums}), {x, w, v, row}, {}},
      {"embedding_offset",
       std::make_shared<Embedding>(Embedding::Attrs{.positions = true, .offset = true}),
       {w, targets, {f32, {9, 5}}, one},
       {{}, {}, {}, {6}}},
  };
}

/// The op alone in a graph; inputs that it overwrites and outputs that accumulate are states.
struct Alone {
  graph::Graph graph;
  std::vector<int> in, out;
};

Alone build(Case const& c) {
  Alone made;
  auto const dims = [](TensorSpec const& s) {
    return std::vector<std::string>(static_cast<std::size_t>(s.shape.ndim()));
  };
  auto const outputs = c.op->infer(c.in);
  std::vector<bool> overwritten(c.in.size());
  for (int o = 0; o < std::ssize(outputs); ++o) {
    if (c.op->overwrites(o) >= 0) overwritten[static_cast<std::size_t>(c.op->overwrites(o))] = true;
  }
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    auto const name = "in" + std::to_string(i);
    made.in.push_back(overwritten[i] ? made.graph.add_state(name, c.in[i], dims(c.in[i]), Role::cache)
                                     : made.graph.add_input(name, c.in[i], dims(c.in[i])));
  }
  std::vector<int> targets;
  for (int o = 0; o < std::ssize(outputs); ++o) {
    auto const& spec = outputs[static_cast<std::size_t>(o)];
    targets.push_back(
        c.op->accumulates(o) ? made.graph.add_state("state" + std::to_string(o), spec, dims(spec), Role::output) : -1);
  }
  made.out = made.graph.add_node(c.op, made.in, "case", graph::Phase::forward, targets);
  return made;
}

void fill(TensorRef t, std::vector<double> const& values, std::uint64_t seed) {
  for (std::int64_t i = 0; i < t.spec.count(); ++i) {
    auto const word = Philox::word(seed, static_cast<std::uint64_t>(i), 3, 4);
    double const given = values.empty() ? 2 * Philox::uniform(word) - 1 : values[static_cast<std::size_t>(i)];
    if (t.spec.dtype == DType::i32) {
      t.as<std::int32_t>()[i] = values.empty() ? static_cast<std::int32_t>(word % 5) : static_cast<std::int32_t>(given);
    } else if (t.spec.dtype == DType::f64) {
      t.as<double>()[i] = given;
    } else {
      t.as<float>()[i] = static_cast<float>(given);
    }
  }
}

double get(TensorRef t, std::int64_t i) {
  return t.spec.dtype == DType::f64 ? t.as<double>()[i] : static_cast<double>(t.as<float>()[i]);
}

class Bindings : public ::testing::TestWithParam<Case> {};

TEST_P(Bindings, give_fast_and_plain_kernels_the_same_arguments) {
  auto const& c = GetParam();
  auto const made = build(c);
  test::ProgramOfGraph const program(made.graph, kernels::threads());
  std::vector<std::unique_ptr<runtime::Executor>> executors;
  for (bool const reference : {false, true}) {
    executors.push_back(std::make_unique<runtime::Executor>(program.set(), comm::Communicator::self(),
                                                            runtime::ExecutorOptions{.reference_kernels = reference}));
    for (std::size_t i = 0; i < made.in.size(); ++i) {
      fill(executors.back()->buffer(program.name(made.in[i]), program.role(made.in[i])),
           i < c.values.size() ? c.values[i] : std::vector<double>{}, i);
    }
    executors.back()->run("forward");
  }
  for (int const v : made.out) {
    auto const fast = executors[0]->buffer(program.name(v), program.role(v));
    auto const plain = executors[1]->buffer(program.name(v), program.role(v));
    bool moved = false;
    for (std::int64_t i = 0; i < fast.spec.count(); ++i) {
      EXPECT_NEAR(get(fast, i), get(plain, i), 1e-5 * (1 + std::abs(get(plain, i)))) << "output value " << v;
      moved |= get(fast, i) != 0;
    }
    EXPECT_TRUE(moved) << "nothing was computed";
  }
}

INSTANTIATE_TEST_SUITE_P(of, Bindings, ::testing::ValuesIn(cases()), [](auto const& p) { return p.param.name; });

TEST(Bindings, a_packed_weight_gives_the_product_of_the_plain_one) {
  std::int64_t const n = 9, k = 7, rows = 6;
  auto const packed = packed_weight_bytes(n, k, f32);
  std::int64_t const scratch = std::int64_t{16} << 20;
  auto const text_of = text(
      "lamina-program 1\nrank 0 of 1\narena host=", 4096 + 2 * packed + scratch + 4096, " shared=0 pinned=0 device=0\n",
      "buffer 0 x input f32[2,3,7] host 0+192\nbuffer 1 w parameter f32[9,7] host 192+256\n",
      "buffer 2 y output f32[2,3,9] host 448+256\nbuffer 3 z output f32[2,3,9] host 704+256\n",
      "buffer 4 dx output f32[2,3,7] host 960+192\nbuffer 5 dz output f32[2,3,7] host 1152+192\n",
      "buffer 6 s scratch u8[", scratch, "] host 4096+", scratch, " program=0\n", "buffer 7 forward packed u8[", packed,
      "] host ", 4096 + scratch, '+', packed, "\n", "buffer 8 backward packed u8[", packed, "] host ",
      4096 + scratch + packed, '+', packed, "\n", "program 0 main\nstream 0 compute\n",
      "step 0 compute pack_weight %1 -> %7 %6 .dtype=\"f32\" .k=7 .n=9 .rows=6 .use=\"forward\"\n",
      "step 1 compute pack_weight %1 -> %8 %6 .dtype=\"f32\" .k=7 .n=9 .rows=6 .use=\"backward\"\n",
      "step 2 compute linear %0 %7 -> %2 %6 .bias=0 .contract=1 .rows_dims=2\n",
      "step 3 compute linear %0 %1 -> %3 %6 .bias=0 .contract=1 .rows_dims=2\n",
      "step 4 compute linear_grad_input %2 %8 -> %4 %6 .contract=1 .rows_dims=2\n",
      "step 5 compute linear_grad_input %3 %1 -> %5 %6 .contract=1 .rows_dims=2\n");
  runtime::Executor executor(program::parse(text_of), comm::Communicator::self());
  fill(executor.buffer("x", Role::input), {}, 1);
  fill(executor.buffer("w", Role::parameter), {}, 2);
  executor.run("main");
  auto const same = [&](char const* a, char const* b, std::int64_t count) {
    auto const x = executor.buffer(a, Role::output), y = executor.buffer(b, Role::output);
    for (std::int64_t i = 0; i < count; ++i) EXPECT_NEAR(get(x, i), get(y, i), 1e-5) << a << ' ' << i;
    EXPECT_NE(get(x, 0), 0);
  };
  same("y", "z", rows * n);
  same("dx", "dz", rows * k);
  EXPECT_THROW(runtime::Executor(program::parse(text_of), comm::Communicator::self(), {.reference_kernels = true}),
               Error);
}

TEST(Bindings, fill_writes_its_value) {
  runtime::Executor executor(program::parse(R"(lamina-program 1
rank 0 of 1
arena host=64 shared=0 pinned=0 device=0
buffer 0 x output f32[3] host 0+64
program 0 main
stream 0 compute
step 0 compute fill -> %0 .value=2.5
)"),
                             comm::Communicator::self());
  executor.run("main");
  EXPECT_EQ(executor.buffer("x", Role::output).as<float>()[2], 2.5f);
}

TEST(Bindings, all_rows_of_the_table_are_run_by_these_tests) {
  // Here, in executor_test.cpp, here and in rank_attributes_test.cpp.
  std::set<std::string> run{"pack_weight", "zero", "fill", "slice"};
  for (auto const& c : cases()) run.emplace(c.op->kind());
  for (auto const& c : test::op_cases(DType::bf16)) {
    auto const made = test::build_case(c);
    for (auto const& node : made.graph.nodes()) run.emplace(node.op->kind());
  }
  for (auto const& op : runtime::detail::bound_ops()) EXPECT_TRUE(run.contains(op)) << op;
}

}  // namespace
}  // namespace lamina
