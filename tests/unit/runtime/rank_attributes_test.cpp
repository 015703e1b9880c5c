// Attributes that all ranks share and that mean something else on each: holder, split_axis and split_dim, rows.
#include <gtest/gtest.h>

#include <tuple>

#include "lamina/kernels/adamw.hpp"
#include "lamina/kernels/attention.hpp"
#include "lamina/kernels/dropout.hpp"
#include "lamina/kernels/embedding.hpp"
#include "lamina/kernels/head_loss.hpp"
#include "lamina/kernels/linear.hpp"
#include "lamina/kernels/sgd.hpp"
#include "lamina/kernels/square_norm.hpp"
#include "runtime/detail/operands.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using test::all_near, test::Tensor;
constexpr auto f32 = DType::f32;

/// One step on the rank with these coordinates of a mesh dp = 2, tp = `ranks`.
struct OnRank {
  int dp = 0, tp = 0, ranks = 3;
  bool reference = false;

  void run(std::string op, Attributes attributes, std::vector<TensorRef> in, std::vector<TensorRef> out,
           bool scratch = false) const {
    auto shape = std::make_shared<program::Template>();
    shape->groups = {{.name = "dp", .axis = "dp"}, {.name = "tp", .axis = "tp"}};
    program::Binding binding{.rank = dp * ranks + tp, .world = 2 * ranks, .axes = {"dp", "tp", "pp"}};
    binding.coordinates = {dp, tp, 0};
    binding.members = {{tp, ranks + tp}, {}};
    for (int r = 0; r < ranks; ++r) binding.members[1].push_back(dp * ranks + r);
    program::ProgramSet const set{shape, binding};
    program::Step step;
    step.op = op, step.attributes = std::move(attributes);
    runtime::detail::Operands operands(set, step, std::move(in), std::move(out), scratch, reference, "the step");
    auto const kernel = runtime::detail::bind_kernel(op, operands);
    device::Stream stream;
    kernel(stream);
  }
};

std::string attribute(char const* value) { return value; }

TEST(RankAttributes, let_only_the_holder_add_a_bias) {
  auto x = Tensor::random(f32, {6, 5}, 1), w = Tensor::random(f32, {4, 5}, 2), bias = Tensor::random(f32, {4}, 3);
  Tensor memory(DType::u8, {8 << 20}), y(f32, {6, 4}), z = y;
  device::Stream stream;
  auto const product = [&](bool with_bias) {
    Tensor whole(f32, {6, 4});
    kernels::linear(
        stream,
        {.x = x, .w = w, .bias = with_bias ? bias.ref() : TensorRef{}, .y = whole, .scratch = memory, .rows_dims = 1});
    return whole;
  };
  Attributes attributes{{"bias", std::int64_t{1}}, {"rows_dims", std::int64_t{1}}, {"activation", attribute("relu")}};
  auto const with = product(true), without = product(false);
  using Row = std::tuple<char const*, int, int, bool>;
  for (auto const& [holder, dp, tp, holds] :
       {Row{"tp", 1, 0, true}, Row{"tp", 0, 1, false}, Row{"dp,tp", 0, 0, true}, Row{"dp,tp", 1, 0, false},
        Row{"dp, tp", 0, 2, false}, Row{"", 1, 2, true}}) {
    attributes.set("holder", attribute(holder));
    OnRank{.dp = dp, .tp = tp}.run("linear", attributes, {x, w, bias}, {y, memory}, true);
    EXPECT_TRUE(y == (holds ? with : without)) << holder << dp << tp;
    OnRank{.dp = dp, .tp = tp}.run("linear_gelu", attributes, {x, w, bias}, {z, y, memory}, true);
    EXPECT_TRUE(z == (holds ? with : without)) << holder << dp << tp;
  }
}

TEST(RankAttributes, give_each_rank_its_rows_of_the_vocabulary) {
  std::int64_t const vocab = 7, local = 3, D = 4;
  auto ids = Tensor::integers({2, 3}, 1, vocab), targets = ids;
  auto positions = Tensor::random(f32, {3, D}, 2), dx = Tensor::random(f32, {2, 3, D}, 3);
  Attributes const attributes{{"positions", std::int64_t{1}},
                              {"split_axis", attribute("tp")},
                              {"split_dim", std::int64_t{0}},
                              {"vocab", vocab},
                              {"holder", attribute("tp")}};
  Tensor memory(DType::u8, {8 << 20});
  device::Stream stream;
  for (int tp = 0; tp < 3; ++tp) {
    kernels::VocabPart const part{.first = tp * local, .vocab = vocab};
    auto table = Tensor::random(f32, {local, D}, 4);
    Tensor x(f32, {2, 3, D}), expected = x, dtable(f32, {local, D}), expected_d = dtable, dpositions = positions;
    OnRank const rank{.dp = 1, .tp = tp};
    rank.run("embedding", attributes, {table, ids, positions}, {x});
    auto const held = tp == 0 ? positions.ref() : TensorRef{};
    kernels::embedding(stream,
                       {.table = table, .ids = ids, .positions = held, .position = {}, .x = expected, .part = part});
    EXPECT_TRUE(x == expected);
    rank.run("embedding_grad", attributes, {dx, ids}, {dtable, dpositions});
    kernels::embedding_grad(stream,
                            {.dx = dx, .ids = ids, .dtable = expected_d, .dpositions = positions, .part = part});
    EXPECT_TRUE(dtable == expected_d);
    EXPECT_TRUE(dpositions == positions) << "of the positions, all of it on every rank";

    Tensor max(f32, {2, 3}), sum = max, target = max, max2 = max, sum2 = max, target2 = max;
    rank.run("head_loss_stats", attributes, {x, table, targets}, {max, sum, target, memory}, true);
    kernels::head_loss_stats(stream, {.x = x,
                                      .w = table,
                                      .bias = {},
                                      .targets = targets,
                                      .max = max2,
                                      .sum = sum2,
                                      .target = target2,
                                      .scratch = memory,
                                      .part = part});
    EXPECT_TRUE(max == max2 && sum == sum2 && target == target2);
    Tensor grad(f32, {2, 3, D}), grad2 = grad;
    rank.run("head_loss_grad", attributes, {x, table, targets, max, sum}, {grad, dtable, memory}, true);
    kernels::head_loss_grad(stream, {.x = x,
                                     .w = table,
                                     .bias = {},
                                     .targets = targets,
                                     .max = max,
                                     .sum = sum,
                                     .dx = grad2,
                                     .dw = expected_d,
                                     .dbias = {},
                                     .scratch = memory,
                                     .part = part});
    EXPECT_TRUE(grad == grad2 && dtable == expected_d);
  }
}

TEST(RankAttributes, give_each_replica_its_rows_of_the_table) {
  std::int64_t const vocab = 7, D = 4;
  auto ids = Tensor::integers({2, 3}, 1, vocab);
  auto positions = Tensor::random(f32, {3, D}, 2), table = Tensor::random(f32, {vocab, D}, 3);
  Tensor whole(f32, {2, 3, D});
  device::Stream stream;
  kernels::embedding(stream, {.table = table, .ids = ids, .positions = positions, .position = {}, .x = whole});
  Attributes attributes{{"positions", std::int64_t{1}}, {"rows_axis", attribute("dp")}, {"rows", attribute("0,3,3,7")}};
  attributes.set("holder", attribute("dp"));
  auto sum = Tensor::random(f32, {2, 3, D}, 4, 0);
  auto const add = [&](TensorRef held, OnRank const& rank) {
    Tensor x(f32, {2, 3, D});
    rank.run("embedding", attributes, {held, ids, positions}, {x});
    for (std::int64_t i = 0; i < 2 * 3 * D; ++i) sum.set(i, sum.get(i) + x.get(i));
  };
  for (int dp = 0; dp < 3; ++dp) {
    auto held = table;  // rows of others are out of date
    for (std::int64_t r = 0; r < vocab; ++r) {
      bool const own = dp == 0 ? r < 3 : dp == 2 && r >= 3;
      for (std::int64_t i = 0; i < D && !own; ++i) held.set(r * D + i, 1e9);
    }
    add(held, {.dp = dp, .tp = 1});
  }
  EXPECT_TRUE(sum == whole);

  // Of a vocabulary that is cut over tp as well, 3 words each, the last two of them padding.
  attributes.set("split_axis", attribute("tp")).set("split_dim", std::int64_t{0}).set("vocab", vocab);
  attributes.set("holder", attribute("tp,dp")).set("rows", attribute("0,2,2,3"));
  sum = Tensor::random(f32, {2, 3, D}, 4, 0);
  for (int tp = 0; tp < 3; ++tp) {
    Tensor part(f32, {3, D});
    for (std::int64_t i = 0; i < 3 * D && 3 * tp * D + i < vocab * D; ++i) part.set(i, table.get(3 * tp * D + i));
    for (int dp = 0; dp < 3; ++dp) add(part, {.dp = dp, .tp = tp});
  }
  EXPECT_TRUE(sum == whole);
}

TEST(RankAttributes, give_each_rank_the_random_numbers_of_its_tokens_and_heads) {
  auto x = Tensor::random(f32, {2, 5, 4}, 1), qkv = Tensor::random(f32, {1, 9, 3, 2, 4}, 2);
  Tensor rng(DType::i64, {3}), y(f32, {2, 5, 4}), expected = y, memory(DType::u8, {4 << 20});
  rng.set(0, 3), rng.set(1, 4), rng.set(2, 5);
  Tensor out(f32, {1, 9, 2, 4}), expected_out = out, lse(f32, {1, 2, 9});
  Tensor dqkv(f32, {1, 9, 3, 2, 4}), expected_dqkv = dqkv;
  Attributes attributes{
      {"p", 0.5}, {"operation", std::int64_t{6}}, {"sample", std::int64_t{2}}, {"causal", std::int64_t{1}}};
  attributes.set("split_axis", attribute("tp"));
  device::Stream stream;
  for (int tp = 0; tp < 3; ++tp) {
    OnRank const rank{.tp = tp};
    rank.run("dropout", Attributes(attributes).set("split_dim", std::int64_t{1}), {x, rng}, {y});
    kernels::DropoutArgs dropout{.x = x, .rng = rng, .y = expected, .p = 0.5, .operation = 6, .sample = 2};
    dropout.split_dim = 1, dropout.first = tp * 5, dropout.extent = 15;
    kernels::dropout(stream, dropout);
    EXPECT_TRUE(y == expected) << tp;
    auto const by_heads = Attributes(attributes).set("split_dim", std::int64_t{3});
    rank.run("attention", by_heads, {qkv, rng}, {out, lse, memory}, true);
    kernels::AttentionArgs attention{.qkv = qkv, .rng = rng, .y = expected_out, .lse = lse, .scratch = memory};
    attention.p = 0.5, attention.operation = 6, attention.sample = 2, attention.heads = {.first = tp * 2, .count = 6};
    kernels::attention(stream, attention);
    EXPECT_TRUE(out == expected_out) << tp;
    rank.run("attention_grad", by_heads, {out, qkv, out, lse, rng}, {dqkv, memory}, true);
    kernels::AttentionGradArgs grad{
        .dy = out, .qkv = qkv, .y = out, .lse = lse, .rng = rng, .dqkv = expected_dqkv, .scratch = memory};
    grad.p = 0.5, grad.operation = 6, grad.sample = 2, grad.heads = attention.heads;
    kernels::attention_grad(stream, grad);
    EXPECT_TRUE(dqkv == expected_dqkv) << tp;
  }
}

TEST(RankAttributes, give_each_rank_its_slice) {
  auto x = Tensor::random(f32, {2, 6, 5}, 1);
  for (int tp = 0; tp < 3; ++tp) {
    for (bool const reference : {false, true}) {
      Tensor y(f32, {2, 2, 5});
      OnRank{.tp = tp, .reference = reference}.run(
          "slice", {{"split_axis", attribute("tp")}, {"split_dim", std::int64_t{1}}}, {x}, {y});
      for (std::int64_t i = 0; i < 20; ++i) EXPECT_EQ(y.get(i), x.get(i / 10 * 30 + tp * 10 + i % 10)) << i;
    }
  }
}

// 7 flat rows of 5 over three ranks: 3, 0 and 4, so that parts of equal shape have padding.
TEST(RankAttributes, let_each_rank_update_its_rows_of_what_is_whole_and_all_of_what_is_its_part) {
  auto const hyper_values = std::vector<double>{0.1, 2, 0.5, 0};
  auto hyper = Tensor::of(DType::f64, hyper_values);
  std::vector<std::int64_t> const bounds{0, 3, 3, 7};
  for (bool const reference : {false, true}) {
    auto g = Tensor::random(f32, {7, 5}, 1), p = Tensor::random(f32, {7, 1, 5}, 2), m = Tensor::random(f32, {7, 5}, 3),
         v = Tensor::random(f32, {7, 5}, 4, 0.5, 1);
    auto whole_p = p, whole_m = m, whole_v = v, sgd_p = p, sgd_m = m, whole_sgd_p = p, whole_sgd_m = m;
    auto const flat = [](Tensor& t) { return TensorRef{t.data(), {f32, {7, 5}}}; };
    device::Stream stream;
    kernels::AdamWArgs const adamw{
        .g = g, .p = flat(whole_p), .m = whole_m, .v = whole_v, .hyper = hyper, .beta1 = 0.9, .beta2 = 0.9};
    kernels::SgdArgs const sgd{
        .g = g, .p = flat(whole_sgd_p), .m = whole_sgd_m, .hyper = hyper, .momentum = 0.9, .weight_decay = 0.1};
    reference ? kernels::adamw_reference(adamw) : kernels::adamw(stream, adamw);
    reference ? kernels::sgd_reference(sgd) : kernels::sgd(stream, sgd);
    for (int tp = 0; tp < 3; ++tp) {
      auto const first = bounds[static_cast<std::size_t>(tp)], count = bounds[static_cast<std::size_t>(tp) + 1] - first;
      auto const part = [&](Tensor& t) {  // 4 rows, the longest part
        Tensor own(f32, {4, 5});
        for (std::int64_t i = 0; i < own.spec().count(); ++i) own.set(i, i < count * 5 ? t.get(first * 5 + i) : 99);
        return own;
      };
      auto const back = [&](Tensor& t, Tensor const& own) {
        for (std::int64_t i = 0; i < count * 5; ++i) t.set(first * 5 + i, own.get(i));
        for (std::int64_t i = count * 5; i < own.spec().count(); ++i) EXPECT_EQ(own.get(i), 99) << "padding";
      };
      auto own_m = part(m), own_v = part(v), own_sgd_m = part(sgd_m);
      Attributes attributes{{"beta1", 0.9}, {"beta2", 0.9}, {"eps", 1e-8}, {"weight_decay", 0.0}, {"momentum", 0.9}};
      attributes.set("rows", attribute("0,3,3,7")).set("rows_axis", attribute("tp"));
      OnRank const rank{.tp = tp, .reference = reference};
      rank.run("adamw", attributes, {g, p, own_m, own_v, hyper}, {p, own_m, own_v});
      rank.run("sgd", attributes.set("weight_decay", 0.1), {g, sgd_p, own_sgd_m, hyper}, {sgd_p, own_sgd_m});
      back(m, own_m), back(v, own_v), back(sgd_m, own_sgd_m);
    }
    EXPECT_TRUE(p == whole_p && m == whole_m && v == whole_v);
    EXPECT_TRUE(sgd_p == whole_sgd_p && sgd_m == whole_sgd_m);
  }
}

TEST(RankAttributes, let_each_rank_cast_add_and_measure_its_rows) {
  auto x = Tensor::random(f32, {11}, 1), b = Tensor::random(f32, {11}, 2);
  Tensor y(DType::bf16, {11}), whole_y = y, sum(f32, {11}), whole_sum = sum, norm(DType::f64, {2}), one = norm;
  Attributes const none, rows{{"rows", attribute("0,2,9,11")}, {"rows_axis", attribute("tp")}};
  OnRank{}.run("cast", none, {x}, {whole_y});
  OnRank{}.run("add", none, {x, b}, {whole_sum});
  OnRank{}.run("square_norm", none, {x, b}, {norm});
  double squares = 0;
  for (int tp = 0; tp < 3; ++tp) {
    OnRank{.tp = tp}.run("cast", rows, {x}, {y});
    OnRank{.tp = tp}.run("add", rows, {x, b}, {sum});
    OnRank{.tp = tp}.run("square_norm", rows, {x, b}, {one});
    squares += one.get(0);
  }
  EXPECT_TRUE(y == whole_y);
  EXPECT_TRUE(sum == whole_sum);
  EXPECT_NEAR(squares, norm.get(0), 1e-12);
}

TEST(RankAttributes, count_a_gradient_that_several_ranks_have_on_one_of_them) {
  auto g = Tensor::random(f32, {5}, 1), more = Tensor::random(f32, {3}, 2);
  Attributes const first{{"holder", attribute("dp,tp")}};
  Attributes const second{{"holder", attribute("dp")}, {"accumulate", std::int64_t{1}}};
  for (bool const reference : {false, true}) {
    Tensor alone(DType::f64, {2}), both = alone, norm = alone;
    OnRank{.reference = reference}.run("square_norm", {}, {more}, {alone});
    OnRank{.reference = reference}.run("square_norm", {}, {g, more}, {both});
    using Row = std::tuple<int, int, double>;
    for (auto const& [dp, tp, expected] :
         {Row{0, 0, both.get(0)}, Row{0, 1, alone.get(0)}, Row{1, 0, 0}, Row{1, 1, 0}}) {
      OnRank const rank{.dp = dp, .tp = tp, .reference = reference};
      rank.run("square_norm", first, {g}, {norm});  // overwrites, if only with 0
      rank.run("square_norm", second, {more}, {norm});
      EXPECT_EQ(norm.get(0), expected) << dp << tp;
      EXPECT_EQ(norm.get(1), 0);
    }
  }
}

TEST(RankAttributes, that_mean_nothing_on_this_mesh_are_refused_with_the_step) {
  Tensor x = Tensor::random(f32, {6, 2}, 1), y(f32, {6, 2}), third(f32, {2, 2}), rng(DType::i64, {3});
  auto const error = [&](std::string op, Attributes attributes, std::vector<TensorRef> in, TensorRef out) {
    return test::error_of([&] { OnRank{.tp = 1}.run(op, std::move(attributes), std::move(in), {out}); });
  };
  auto const unknown = error("slice", {{"split_axis", attribute("ep")}, {"split_dim", std::int64_t{0}}}, {x}, third);
  EXPECT_EQ(unknown.code, "runtime.bind.axis");
  EXPECT_EQ(unknown.subject, "the step");
  EXPECT_EQ(unknown.expected, "one of dp, tp, pp");
  auto const no_group = error("slice", {{"split_axis", attribute("pp")}, {"split_dim", std::int64_t{0}}}, {x}, third);
  EXPECT_EQ(no_group.code, "runtime.bind.axis");
  EXPECT_EQ(no_group.found, "no group 'pp'");
  EXPECT_EQ(error("slice", {}, {x}, third).code, "runtime.bind.split_dim");
  EXPECT_EQ(error("slice", {{"split_axis", attribute("tp")}, {"split_dim", std::int64_t{2}}}, {x}, third).code,
            "runtime.bind.split_dim");
  EXPECT_EQ(
      error("dropout", {{"p", 0.5}, {"split_axis", attribute("tp")}, {"split_dim", std::int64_t{0}}}, {x, rng}, y).code,
      "runtime.bind.split_dim");
  EXPECT_EQ(error("square_norm", {{"holder", attribute("dp,ep")}}, {x}, y).code, "runtime.bind.axis");
  for (auto const* rows : {"0,3", "0,5,3,6", "1,2,3,6", "0,2,x,6", "", "0,2,4,5", "0,1,9,12"}) {
    Attributes const a{{"rows", attribute(rows)}, {"rows_axis", attribute("tp")}};
    auto const wrong = error("cast", a, {x}, y);
    EXPECT_EQ(wrong.code, "runtime.bind.rows") << rows;
    EXPECT_EQ(wrong.subject, "the step");
  }
}

}  // namespace
}  // namespace lamina
