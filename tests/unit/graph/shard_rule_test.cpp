#include "lamina/graph/shard_rule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.hpp"

namespace lamina::graph {
namespace {

using Names = std::vector<std::string>;

std::vector<TensorSpec> specs(std::vector<Shape> const& shapes) {
  std::vector<TensorSpec> out;
  for (auto const& s : shapes) out.push_back({DType::f32, s});
  return out;
}

ExpandedRule expand(std::string rule, std::vector<Shape> const& in, std::vector<Shape> const& out) {
  return expand_rule({std::move(rule)}, specs(in), specs(out), "op");
}

std::string code_of(std::string const& rule, std::vector<Shape> const& in, std::vector<Shape> const& out) {
  return test::error_of([&] { expand(rule, in, out); }).code;
}

TEST(ShardRule, gives_each_dim_its_letter) {
  auto const r = expand("btd,nd,+n -> btn", {{2, 3, 5}, {7, 5}, {7}}, {{2, 3, 7}});
  EXPECT_EQ(r.in[0].letters, "btd");
  EXPECT_EQ(r.in[1].letters, "nd");
  EXPECT_FALSE(r.in[1].plus);
  EXPECT_TRUE(r.in[2].plus) << "only one holder adds the bias";
  EXPECT_EQ(r.out[0].letters, "btn");
  EXPECT_TRUE(r.contracted('d'));
  EXPECT_FALSE(r.contracted('n'));
}

TEST(ShardRule, keeps_a_letter_whole_wherever_it_has_its_mark) {
  auto const r = expand("bt!d,d! -> btd", {{2, 3, 5}, {5}}, {{2, 3, 5}});
  EXPECT_TRUE(r.may_split('b'));
  EXPECT_FALSE(r.may_split('t'));
  EXPECT_FALSE(r.may_split('d'));
}

TEST(ShardRule, never_splits_a_block) {
  auto const r = expand("b,. -> +.", {{3}, {4}}, {{2}});
  EXPECT_EQ(r.in[1].letters, ".");
  EXPECT_TRUE(r.out[0].plus);
  EXPECT_FALSE(r.may_split('.'));
  EXPECT_EQ(expand(". -> .", {{}}, {{}}).in[0].letters, "") << "a scalar has no dims";
}

TEST(ShardRule, lets_a_star_stand_for_any_run_of_dims) {
  auto const r = expand("bt*,*k -> +*k", {{2, 3, 5, 7}, {5, 7, 9}}, {{5, 7, 9}});
  EXPECT_EQ(r.in[0].letters, "btAB");
  EXPECT_EQ(r.in[1].letters, "ABk");
  EXPECT_EQ(r.out[0].letters, "ABk");
  EXPECT_TRUE(r.out[0].plus);
  auto const none = expand("*d -> *", {{5}}, {{}});
  EXPECT_EQ(none.in[0].letters, "d") << "also for none at all";
  auto const whole = expand("b*! -> b*", {{2, 3, 5}}, {{2, 3, 5}});
  EXPECT_TRUE(whole.may_split('b'));
  EXPECT_FALSE(whole.may_split('A'));
  EXPECT_FALSE(whole.may_split('B'));
}

TEST(ShardRule, reads_the_mark_in_front_of_a_term) {
  auto const r = expand("%b,+b,b -> b,+b,=b,^b", {{2}, {2}, {2}}, {{2}, {2}, {2}, {2}});
  auto const marks = [](ExpandedRule::Term const& t) { return std::vector<bool>{t.plus, t.same, t.max, t.as_is}; };
  EXPECT_EQ(marks(r.in[0]), (std::vector<bool>{false, false, false, true}));
  EXPECT_EQ(marks(r.in[1]), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(marks(r.in[2]), std::vector<bool>(4, false));
  EXPECT_EQ(marks(r.out[0]), std::vector<bool>(4, false));
  EXPECT_EQ(marks(r.out[1]), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(marks(r.out[2]), (std::vector<bool>{false, true, false, false}));
  EXPECT_EQ(marks(r.out[3]), (std::vector<bool>{false, false, true, false}));
  EXPECT_EQ(r.out[3].letters, "b");
}

TEST(ShardRule, refuses_text_that_is_no_rule) {
  for (auto const* rule : {"bt,bt", "bT -> b", "b2 -> b", ", b -> b", "!b -> b", "bb -> b", "*b* -> b", "b. -> b",
                           "b -> ", "b+ -> b", "=b -> b", "^b -> b", "b -> %b", "b -> +=b", "% -> b", ""}) {
    EXPECT_EQ(code_of(rule, {{2, 3}}, {{2}}), "graph.shard_rule.syntax") << rule;
  }
}

TEST(ShardRule, refuses_a_rule_that_does_not_fit_the_tensors) {
  EXPECT_EQ(code_of("b,b -> b", {{2}}, {{2}}), "graph.shard_rule.terms");
  EXPECT_EQ(code_of("b -> b", {{2}}, {{2}, {2}}), "graph.shard_rule.terms");
  EXPECT_EQ(code_of("bt -> b", {{2}}, {{2}}), "graph.shard_rule.dims");
  EXPECT_EQ(code_of("bt* -> b", {{2}}, {{2}}), "graph.shard_rule.dims");
  EXPECT_EQ(code_of("b*,* -> b", {{2, 3}, {3, 4}}, {{2}}), "graph.shard_rule.dims") << "one length for every '*'";
  EXPECT_EQ(code_of("bt,t -> b", {{2, 3}, {4}}, {{2}}), "graph.shard_rule.extents");
  EXPECT_EQ(code_of("*,* -> *", {{2, 3}, {2, 4}}, {{2, 3}}), "graph.shard_rule.extents");
}

TEST(ShardRule, says_which_tensor_does_not_fit) {
  auto const e = test::error_of([&] { expand("bt,t -> b", {{2, 3}, {4}}, {{2}}); });
  EXPECT_THAT(e.subject, ::testing::HasSubstr("bt,t -> b"));
  EXPECT_THAT(e.found, ::testing::AllOf(::testing::HasSubstr("'t' is 3"), ::testing::HasSubstr("f32[4]")));
}

TEST(ShardRule, carries_names_from_inputs_to_outputs) {
  auto const r = expand("btd,nd,+n -> btn", {{2, 3, 5}, {7, 5}, {7}}, {{2, 3, 7}});
  std::vector<Names> const in{{"batch", "tokens", "model"}, {"ff", ""}, {"ff"}};
  EXPECT_EQ(propagate_dims(r, in, "linear"), (std::vector<Names>{{"batch", "tokens", "ff"}}));
  std::vector<Names> const unnamed{{"", "", ""}, {"", ""}, {""}};
  EXPECT_EQ(propagate_dims(r, unnamed, "linear"), (std::vector<Names>{{"", "", ""}}));
}

TEST(ShardRule, refuses_two_names_for_one_letter) {
  auto const r = expand("bd,nd -> bn", {{2, 5}, {7, 5}}, {{2, 7}});
  std::vector<Names> const in{{"batch", "model"}, {"ff", "heads"}};
  auto const e = test::error_of([&] { propagate_dims(r, in, "linear"); });
  EXPECT_EQ(e.code, "graph.shard_rule.names");
  EXPECT_THAT(e.found, ::testing::AllOf(::testing::HasSubstr("heads"), ::testing::HasSubstr("model")));
}

}  // namespace
}  // namespace lamina::graph
