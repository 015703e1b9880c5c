// What lowering arranges so that communication has something to hide behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "lamina/base/text.hpp"
#include "plan/detail/plan.hpp"
#include "support/plan_cases.hpp"
#include "support/temporary.hpp"

namespace lamina::plan {
namespace {

using program::Program;
using program::ProgramSet;
using program::StepKind;
using test::PlanCase;
using test::set_of;
using test::steps_of;

TEST(LowerOverlap, sums_the_last_gradient_of_an_embedding_over_the_tokens_of_all_replicas) {
  for (std::int64_t const zero : {0, 1}) {
    for (std::int64_t const micro_batches : {1, 3}) {
      PlanCase c{.world = 2, .micro = 1, .global = 2 * micro_batches, .vocab = 300, .tied = zero == 1, .bucket = 4000};
      c.zero = zero;
      auto const set = set_of(c);
      auto const& p = *set.shape->find_program("forward_backward");
      int const table = set.shape->find_buffer("embed.tokens.weight", Role::gradient);
      int reduced = -1, last = -1, others = 0;
      for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) {
        auto const& s = p.steps[static_cast<std::size_t>(i)];
        bool const here = std::find(s.out.begin(), s.out.end(), table) != s.out.end();
        if (here && program::is_communication(s.kind)) reduced = i;
        if (s.op == "embedding_grad") last = i;
        others += here && s.kind == StepKind::kernel ? 1 : 0;
      }
      --others;
      auto const& sum = p.steps[static_cast<std::size_t>(last)];
      for (int const b : {sum.in[0], sum.in[1]}) {
        auto const& spec = set.shape->buffers[static_cast<std::size_t>(b)].spec;
        EXPECT_EQ(spec.shape[0], 2) << "the samples of both replicas";
      }
      EXPECT_EQ(reduced >= 0, others > 0) << "what was added before; nothing when nothing was";
      EXPECT_LT(reduced, last);
      EXPECT_EQ(sum.attributes.integer("accumulate") & 1, others > 0 ? 1 : 0);
      EXPECT_EQ(others, (c.tied ? micro_batches : 0) + micro_batches - 1);
      int counted = 0;
      for (auto const& s : steps_of(set, "forward_backward", "square_norm")) {
        counted += static_cast<int>(std::count(s.in.begin(), s.in.end(), table));
      }
      EXPECT_EQ(counted, 1);
    }
  }
}

/// How many gradients are sums over the tokens of all replicas; none of them is reduced behind that.
int late_sums(Program const& p, program::Template const& shape) {
  std::set<int> gathered, late;
  for (auto const& s : p.steps) {
    if (s.kind == StepKind::all_gather) gathered.insert(s.out.begin(), s.out.end());
    bool const reduces = s.kind == StepKind::all_reduce || s.kind == StepKind::reduce_scatter;
    for (int const b : s.out) {
      EXPECT_FALSE(reduces && late.contains(b)) << shape.buffers[static_cast<std::size_t>(b)].name;
      if (s.op == "embedding_grad" && gathered.contains(s.in[0])) late.insert(b);
    }
  }
  return static_cast<int>(late.size());
}

TEST(LowerOverlap, has_norms_to_compute_while_the_last_bucket_and_the_operands_of_late_sums_are_on_their_way) {
  for (int const zero : {0, 1}) {
    SCOPED_TRACE(zero);
    PlanCase c{.world = 2, .micro = 1, .global = 2, .layers = 3, .vocab = 301};
    c.zero = zero, c.bucket = 4000;
    auto const set = set_of(c);
    auto const& steps = set.shape->find_program("forward_backward")->steps;
    int last_bucket = -1, gathered = -1, late = -1, before = 0, behind = 0;
    for (int i = 0; i < std::ssize(steps); ++i) {
      auto const& s = steps[static_cast<std::size_t>(i)];
      if (s.layer.starts_with("bucket.")) last_bucket = i;
      if (s.kind == StepKind::all_gather && s.layer == "embed" && last_bucket >= 0) gathered = i;
      if (s.op == "embedding_grad") late = i;
      if (s.op != "square_norm") continue;
      bool const is_first = before == 0;
      (late < 0 ? before : behind) += static_cast<int>(s.in.size());
      EXPECT_TRUE(late >= 0 || gathered >= 0) << "the late sum waits for operands that could have been sent";
      bool const waits_for_last = std::ranges::find(s.after, last_bucket) != s.after.end();
      EXPECT_FALSE(is_first && waits_for_last) << "the first has something to do at once";
    }
    EXPECT_GT(gathered, last_bucket);
    EXPECT_GT(late, gathered);
    EXPECT_GT(before, 30);
    EXPECT_EQ(behind, 2) << "the table, whose sum is late, and the positions";
  }
}

TEST(LowerOverlap, sums_no_gradient_late_that_something_else_adds_to_later) {
  test::TemporaryDirectory const directory;
  PlanCase c{.world = 4, .micro = 1, .global = 2, .vocab = 300, .bucket = 4000};
  c.pp = 2;
  auto config = test::plan_config(c);
  config.pipeline.schedule = "file";
  config.pipeline.stages.lists = {{{"embed", "blocks.0.*"}, 0}, {{"blocks.1.*"}, 1}, {{"final", "head"}, 0}};
  auto const graphs = test::plan_graphs(c, Purpose::train);
  // The head's weight gradient in front of the embedding's, then behind it.
  for (auto const& [order, expected] : {std::pair{"W0.2 W0.0", 2}, {"W0.0 W0.2", 0}}) {
    config.pipeline.file =
        test::write_file(directory / "order.txt", text("0: F0.0 F0.2 I0.2 I0.0 ", order, "\n1: F0.1 I0.1 W0.1\n"));
    auto const plan = make(graphs, config, 4, test::plan_machine(c), Purpose::train);
    auto const set = lower(*plan, 0);
    EXPECT_EQ(late_sums(*set.shape->find_program("forward_backward"), *set.shape), expected) << order;
  }
}

/// Buffers that the all-gathers of a program make whole, and copies that it packs.
std::multiset<std::string> made_whole(ProgramSet const& set, std::string_view program) {
  std::multiset<std::string> names;
  for (auto const& s : set.shape->find_program(program)->steps) {
    if (s.kind != StepKind::all_gather && s.op != "pack_weight") continue;
    for (int const b : s.out) {
      auto const& buffer = set.shape->buffers[static_cast<std::size_t>(b)];
      if (buffer.role != Role::scratch) names.insert(buffer.name);
    }
  }
  return names;
}

TEST(LowerOverlap, leaves_all_but_the_first_blocks_to_be_gathered_by_the_next_forward) {
  using ::testing::Contains;
  using ::testing::Not;
  for (std::int64_t const zero : {1, 2}) {
    for (bool const bf16 : {false, true}) {
      PlanCase c{.world = 2, .layers = 3, .bf16 = bf16};
      c.zero = zero;
      auto const set = set_of(c);
      auto const by_update = made_whole(set, "update"), by_forward = made_whole(set, "forward_backward");
      EXPECT_EQ(by_forward, made_whole(set, "gather"));
      for (auto const& name : by_forward) EXPECT_EQ(by_forward.count(name), 1u) << name;
      EXPECT_THAT(by_update, Contains("blocks.0.mlp.proj.weight"));
      EXPECT_THAT(by_update, Contains("blocks.0.mlp.proj.weight@forward"));
      EXPECT_THAT(by_forward, Contains("blocks.1.attn.qkv.weight"));
      EXPECT_THAT(by_forward, Contains("blocks.1.attn.qkv.weight@backward"));
      EXPECT_THAT(by_forward, Contains("final.norm.bias"));
      c.overlap = false;
      auto all = by_update;
      all.insert(by_forward.begin(), by_forward.end());
      auto const without = set_of(c);
      EXPECT_EQ(made_whole(without, "update"), all);
      EXPECT_TRUE(made_whole(without, "forward_backward").empty());
      EXPECT_EQ(without.shape->find_program("gather"), nullptr);
    }
  }
}

TEST(LowerOverlap, looks_the_first_words_of_a_step_up_in_the_rows_of_all_replicas) {
  using ::testing::Contains;
  using ::testing::Not;
  std::string const table = "embed.tokens.weight";
  for (auto const& [tied, micro_batches, read_later] :
       {std::tuple{true, 1, true}, {true, 2, true}, {false, 1, false}, {false, 2, true}}) {
    SCOPED_TRACE(text("tied ", tied, ", micro-batches ", micro_batches));
    PlanCase c{.world = 2, .micro = 1, .global = 2 * micro_batches, .layers = 3, .vocab = 301, .tied = tied};
    c.zero = 1, c.bucket = 4000;
    auto const set = set_of(c);
    auto const& buffers = set.shape->buffers;
    auto const& steps = set.shape->find_program("forward_backward")->steps;
    int lookup = -1, sum = -1, fetch = -1;
    for (int i = 0; i < std::ssize(steps); ++i) {
      auto const& s = steps[static_cast<std::size_t>(i)];
      auto const is_table = [&](int b) { return buffers[static_cast<std::size_t>(b)].name == table; };
      if (s.op == "embedding" && s.attributes.has("rows")) {
        EXPECT_EQ(std::exchange(lookup, i), -1) << "one micro-batch";
        EXPECT_EQ(s.attributes.string("rows"), "0,151,301");
        EXPECT_EQ(s.attributes.string("holder"), "dp") << "positions are added once";
        EXPECT_EQ(buffers[static_cast<std::size_t>(s.in[1])].spec, (TensorSpec{DType::i32, {2, 8}}));
        EXPECT_EQ(buffers[static_cast<std::size_t>(s.out[0])].spec, (TensorSpec{DType::f32, {2, 8, 16}}));
      } else if (s.op == "embedding") {
        EXPECT_GT(fetch, -1) << "the second micro-batch has the table";
      }
      if (s.kind == StepKind::reduce_scatter && lookup >= 0 &&
          s.in[0] == steps[static_cast<std::size_t>(lookup)].out[0]) {
        sum = i;
        EXPECT_EQ(buffers[static_cast<std::size_t>(s.out[0])].spec, (TensorSpec{DType::f32, {1, 8, 16}}));
      }
      if (s.kind == StepKind::all_gather && std::ranges::any_of(s.out, is_table)) fetch = i;
    }
    EXPECT_GE(lookup, 0);
    EXPECT_GT(sum, lookup);
    EXPECT_EQ(fetch > sum, read_later) << "behind the lookup, or not at all";
    EXPECT_THAT(made_whole(set, "update"), Not(Contains(table)));
    EXPECT_THAT(made_whole(set, "gather"), Contains(table));
  }
  PlanCase good{.world = 2, .micro = 1, .global = 2, .layers = 3, .vocab = 301, .bucket = 4000};
  good.zero = 2;
  auto const looks_up = [](PlanCase const& c) {
    auto const steps = steps_of(set_of(c), "forward_backward", "embedding");
    return std::ranges::any_of(steps, [](auto const& s) { return s.attributes.has("rows"); });
  };
  EXPECT_TRUE(looks_up(good));
  for (auto const& change : std::initializer_list<void (*)(PlanCase&)>{
           [](auto& c) { c.zero = 0; }, [](auto& c) { c.zero = 3; }, [](auto& c) { c.overlap = false; },
           [](auto& c) { c.bucket = 25 << 20; }, [](auto& c) { c.micro = 10, c.global = 20; }}) {
    auto c = good;
    change(c);
    EXPECT_FALSE(looks_up(c)) << c.zero << ' ' << c.overlap << ' ' << c.bucket << ' ' << c.micro;
  }
}
}  // namespace
}  // namespace lamina::plan
