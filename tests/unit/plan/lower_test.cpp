#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "lamina/base/text.hpp"
#include "plan/detail/plan.hpp"
#include "plan/detail/timeline.hpp"
#include "support/plan_cases.hpp"
#include "support/temporary.hpp"

namespace lamina::plan {
namespace {

using program::Program;
using program::ProgramSet;
using program::Step;
using program::StepKind;
using test::PlanCase;
using test::set_of;
using test::steps_of;

std::vector<std::string> program_names(ProgramSet const& set) {
  std::vector<std::string> names;
  for (auto const& p : set.shape->programs) names.push_back(p.name);
  return names;
}

std::vector<int> reductions(Program const& p) {
  std::vector<int> ids;
  for (std::size_t i = 0; i < p.steps.size(); ++i) {
    if (p.steps[i].kind == StepKind::all_reduce) ids.push_back(static_cast<int>(i));
  }
  return ids;
}

TEST(Lower, makes_the_programs_that_the_purpose_needs) {
  using ::testing::ElementsAre;
  EXPECT_THAT(program_names(set_of({})), ElementsAre("forward_backward", "control", "update", "refresh", "eval"));
  EXPECT_THAT(program_names(set_of({}, 0, Purpose::eval)), ElementsAre("control", "refresh", "eval"));
  EXPECT_THAT(program_names(set_of({}, 0, Purpose::generate)), ElementsAre("refresh", "prefill", "decode"));
}

TEST(Lower, has_no_communication_on_one_rank) {
  auto const set = set_of({});
  EXPECT_TRUE(set.shape->groups.empty());
  for (auto const& p : set.shape->programs) {
    EXPECT_EQ(p.streams.size(), 1u) << p.name;
    for (auto const& s : p.steps) EXPECT_EQ(s.kind, StepKind::kernel);
  }
  EXPECT_TRUE(set.shape->find_program("control")->steps.empty());
}

TEST(Lower, gives_every_micro_batch_its_inputs_and_its_first_sample) {
  auto const set = set_of({.micro = 3, .global = 9, .dropout = 0.1});
  for (int m = 0; m < 3; ++m) {
    for (auto const* name : {"tokens", "targets"}) {
      int const b = set.shape->find_buffer(text(name, ".", m), Role::input);
      ASSERT_GE(b, 0);
      EXPECT_EQ(set.shape->buffers[static_cast<std::size_t>(b)].spec, (TensorSpec{DType::i32, {3, 8}}));
    }
  }
  EXPECT_EQ(set.shape->find_buffer("tokens.3", Role::input), -1);
  for (auto const* op : {"dropout", "attention", "attention_grad"}) {
    auto const steps = steps_of(set, "forward_backward", op);
    EXPECT_FALSE(steps.empty());
    for (auto const& s : steps) EXPECT_EQ(s.attributes.integer("sample"), 3 * s.micro_batch) << op;
  }
}

TEST(Lower, overwrites_with_the_first_writer_of_a_step_and_accumulates_with_the_others) {
  auto const set = set_of({.micro = 1, .global = 3});
  std::map<int, int> writes;
  for (auto const& s : set.shape->find_program("forward_backward")->steps) {
    for (std::size_t o = 0; o < s.out.size(); ++o) {
      auto const& b = set.shape->buffers[static_cast<std::size_t>(s.out[o])];
      if (b.role != Role::gradient && b.name != "loss") continue;
      bool const adds = (s.attributes.integer("accumulate") >> o & 1) != 0;
      EXPECT_EQ(adds, writes[s.out[o]]++ > 0) << b.name << " in " << s.op;
    }
  }
  auto const writers = [&](char const* name, Role r) { return writes[set.shape->find_buffer(name, r)]; };
  EXPECT_EQ(writers("embed.tokens.weight", Role::gradient), 6);  // tied: twice a micro-batch
  EXPECT_EQ(writers("blocks.0.attn.qkv.bias", Role::gradient), 3);
  EXPECT_EQ(writers("loss", Role::output), 3);
}

TEST(Lower, makes_an_evaluation_overwrite_its_loss) {
  auto const set = set_of({.micro = 1, .global = 3});
  auto const sums = steps_of(set, "eval", "loss_sum");
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_EQ(sums[0].attributes.integer("accumulate"), 0);
  EXPECT_EQ(sums[0].out[0], set.shape->find_buffer("eval_loss", Role::output));
  EXPECT_EQ(steps_of(set, "eval", "embedding")[0].in[1], set.shape->find_buffer("tokens.0", Role::input));
}

TEST(Lower, reduces_every_gradient_once_after_its_last_writer) {
  for (bool const overlap : {true, false}) {
    // Too many tokens for a late sum.
    auto const set = set_of({.world = 2, .micro = 1, .global = 6, .tokens = 32, .overlap = overlap, .bucket = 4000});
    auto const& p = *set.shape->find_program("forward_backward");
    std::map<int, int> last_writer, reduced_by;
    int last_compute = -1;
    for (int i = 0; i < static_cast<int>(p.steps.size()); ++i) {
      auto const& s = p.steps[static_cast<std::size_t>(i)];
      if (s.kind == StepKind::all_reduce) {
        for (int const b : s.in) EXPECT_TRUE(reduced_by.emplace(b, i).second);
        continue;
      }
      if (s.op == "square_norm") break;
      for (int const b : s.out) last_writer[b] = i;
      last_compute = i;
    }
    EXPECT_GT(reductions(p).size(), 4u);
    for (auto const& b : set.shape->buffers) {
      if (b.role != Role::gradient) continue;
      int const id = set.shape->find_buffer(b.name, Role::gradient);
      ASSERT_TRUE(reduced_by.contains(id)) << b.name;
      // What it waits for itself, or a step before it on its stream.
      int waited = -1;
      for (int i = 0; i <= reduced_by[id]; ++i) {
        auto const& s = p.steps[static_cast<std::size_t>(i)];
        if (s.kind == StepKind::all_reduce && !s.after.empty()) waited = std::max(waited, s.after.back());
      }
      EXPECT_GE(waited, last_writer[id]) << b.name;
      EXPECT_TRUE(overlap || waited == last_compute) << b.name;
    }
    auto const first = p.steps[static_cast<std::size_t>(reductions(p).front())].after[0];
    EXPECT_EQ(first < last_compute, overlap);
  }
}

/// Its fused loss makes the gradient that leaves for the stage before while that one is still in its forwards.
TEST(Lower, a_last_stage_of_nothing_but_the_head_does_not_lock_up) {
  for (std::string const schedule : {"gpipe", "1f1b", "zb-h1"}) {
    for (std::string const recompute : {"none", "full"}) {
      PlanCase c{.world = 3, .micro = 1, .global = 8};
      c.pp = 3, c.schedule = schedule, c.recompute = recompute;
      auto config = test::plan_config(c);
      config.pipeline.stages.lists = {{{"embed", "blocks.0.*"}, 0}, {{"blocks.1.*", "final"}, 1}, {{"head"}, 2}};
      auto const graphs = test::plan_graphs(c, Purpose::train);
      EXPECT_NO_THROW(make(graphs, config, 3, test::plan_machine(c), Purpose::train)) << schedule << recompute;
    }
  }
}

/// Sound, but each coordinate would wait for a send that the other receives only after one that waits for it.
TEST(Lower, waits_for_sends_later_where_ranks_would_wait_for_each_other) {
  test::TemporaryDirectory const directory;
  PlanCase c{.world = 2, .micro = 1, .global = 8};
  c.pp = 2;
  auto config = test::plan_config(c);
  config.pipeline.schedule = "file";
  config.pipeline.stages.lists = {{{"embed", "blocks.0.*"}, 0}, {{"blocks.1.*"}, 1}, {{"final", "head"}, 0}};
  std::string first, last, middle, back;
  for (int m = 0; m < 8; ++m)
    first += text(" F", m, ".0"), last += text(" F", m, ".2 B", m, ".2"), middle += text(" F", m);
  for (int m = 0; m < 8; ++m) back += text(" B", m, ".0"), middle += text(" B", m);
  config.pipeline.file = test::write_file(directory / "order.txt", text("0:", first, last, back, "\n1:", middle, "\n"));
  auto const plan = make(test::plan_graphs(c, Purpose::train), config, 2, test::plan_machine(c), Purpose::train);
  EXPECT_GT(plan->send_lag, 2u);
  EXPECT_TRUE(program::verify(lower_all(*plan)).empty());
}

TEST(Lower, finds_such_an_order_without_a_file_too) {
  PlanCase c{.world = 2, .micro = 1, .global = 15};
  c.pp = 2, c.schedule = "gpipe";
  auto config = test::plan_config(c);
  config.pipeline.stages.lists = {{{"embed"}, 0}, {{"blocks.0"}, 1}, {{"blocks.1"}, 0}, {{"final", "head"}, 1}};
  auto const plan = draft(test::plan_graphs(c, Purpose::train), config, 2, test::plan_machine(c), Purpose::train);
  EXPECT_GT(plan->send_lag, 2u);
  EXPECT_FALSE(locks_up(*plan));
}

TEST(Lower, keeps_as_much_in_flight_for_many_micro_batches_as_for_few_where_stages_return) {
  std::vector<std::int64_t> peaks;
  for (std::int64_t const m : {8, 16, 32}) {
    PlanCase c{.world = 3, .micro = 1, .global = m, .layers = 4, .hidden = 64, .tokens = 64};
    c.pp = 3;
    auto config = test::plan_config(c);
    config.pipeline.stages.lists = {
        {{"embed", "blocks.0"}, 0}, {{"blocks.1"}, 1}, {{"blocks.2"}, 2}, {{"blocks.3", "final", "head"}, 0}};
    auto const plan = draft(test::plan_graphs(c, Purpose::train), config, 3, test::plan_machine(c), Purpose::train);
    EXPECT_FALSE(locks_up(*plan));
    peaks.push_back(peak_bytes(*plan) - 512 * m);  // tokens and targets of all micro-batches are inputs
  }
  EXPECT_EQ(peaks[0], peaks[1]);
  EXPECT_EQ(peaks[1], peaks[2]);
}

TEST(Lower, gives_a_rank_without_parameters_what_the_host_sets) {
  PlanCase c{.world = 2};
  c.pp = 2;
  auto config = test::plan_config(c);
  config.model = {};
  config.model.kind = "layers", config.model.input = {6};
  config.model.network = {{.op = "linear", .name = "a", .out = 4}, {.op = "relu", .name = "b"}};
  models::BuildRequest const request{.mode = models::Mode::train, .batch = 2, .tokens = 1, .context = 1};
  Graphs graphs;
  graphs.train = models::build(config.model, request);
  auto const plan = draft(graphs, config, 2, test::plan_machine(c), Purpose::train);
  for (int rank = 0; rank < 2; ++rank) {
    auto const set = lower(*plan, rank);
    EXPECT_GE(set.shape->find_buffer("hyper", Role::input), 0) << rank;
    EXPECT_GE(set.shape->find_buffer("rng", Role::input), 0) << rank;
  }
}

TEST(Lower, reduces_gradients_bucket_by_bucket) {
  auto const set = set_of({.world = 2, .bucket = 4000});
  auto const& p = *set.shape->find_program("forward_backward");
  for (int const r : reductions(p)) {
    auto const& s = p.steps[static_cast<std::size_t>(r)];
    std::int64_t bytes = 0;
    for (int const b : s.in) {
      auto const& buffer = set.shape->buffers[static_cast<std::size_t>(b)];
      bytes += buffer.spec.bytes();
    }
    EXPECT_EQ(bytes, s.bytes);
    EXPECT_TRUE(bytes <= 4000 || s.in.size() == 1);
    EXPECT_EQ(s.in, s.out);
    EXPECT_EQ(s.attributes.string("reduce"), "sum");
  }
}

TEST(Lower, reduces_in_one_order_where_replicas_have_unlike_schedules) {
  PlanCase c{.world = 4, .micro = 1, .global = 7, .bucket = 4000};
  c.pp = 2, c.schedule = "zb-h1", c.recompute = "full", c.tied = false;
  auto config = test::plan_config(c);
  config.batch.shares = {5, 3};
  config.memory.recompute_layers = {"blocks.*.attn"};
  config.pipeline.stages.lists = {{{"embed", "blocks.0", "blocks.1"}, 0}, {{"final"}, 1}, {{"head"}, 0}};
  for (std::int64_t const zero : {0, 1}) {
    config.parallel.zero = zero;
    auto const plan = make(test::plan_graphs(c, Purpose::train), config, 4, test::plan_machine(c), Purpose::train);
    EXPECT_NE(lower(*plan, 0).shape, lower(*plan, 1).shape);
    EXPECT_TRUE(program::verify(lower_all(*plan)).empty());
  }
}

TEST(Lower, counts_replicated_gradients_in_the_norm_of_one_rank_only) {
  auto const plan = test::make_plan({.world = 3, .global = 6});
  auto const zeroth = lower(*plan, 0);
  EXPECT_EQ(lower(*plan, 2).shape, zeroth.shape);  // one object for all
  auto const norm = steps_of(zeroth, "forward_backward", "square_norm");
  ASSERT_EQ(norm.size(), 1u);
  EXPECT_EQ(norm[0].in.size(), 28u);
  EXPECT_EQ(norm[0].attributes.string("holder"), "dp");  // resolved when a rank binds the program
  auto const& p = *zeroth.shape->find_program("forward_backward");
  EXPECT_EQ(norm[0].after, std::vector<int>{reductions(p).back()});
}

TEST(Lower, sums_the_control_block_over_all_ranks) {
  auto const set = set_of({.world = 4, .global = 8}, 2);
  auto const& p = *set.shape->find_program("control");
  ASSERT_EQ(p.steps.size(), 1u);
  EXPECT_EQ(p.steps[0].in, std::vector<int>{set.shape->find_buffer("control", Role::input)});
  EXPECT_EQ(p.streams[1].name, "comm.control");
  EXPECT_EQ(set.binding.members[static_cast<std::size_t>(p.steps[0].group)], (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(set.binding.coordinates, (std::vector<int>{0, 2, 0}));
}

TEST(Lower, updates_every_parameter_and_then_its_working_copies) {
  auto const set = set_of({.bf16 = true});
  auto const& steps = set.shape->find_program("update")->steps;
  std::map<int, int> updated;
  for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
    auto const& s = steps[static_cast<std::size_t>(i)];
    if (s.op == "adamw") {
      updated[s.out[0]] = i;
      EXPECT_EQ(s.in.back(), set.shape->find_buffer("hyper", Role::input));
    } else {
      EXPECT_LT(updated.at(s.in[0]), i);
    }
  }
  EXPECT_EQ(updated.size(), 28u);
  auto const& refresh = set.shape->find_program("refresh")->steps;
  EXPECT_EQ(steps.size(), updated.size() + refresh.size());
  EXPECT_EQ(steps_of(set, "update", "adamw")[0].attributes.real("weight_decay"), 0.1);  // embed.tokens.weight
  EXPECT_EQ(steps_of(set, "update", "adamw")[2].attributes.real("weight_decay"), 0.0);  // a norm
}

TEST(Lower, keeps_one_moment_for_sgd) {
  auto const set = set_of({.optimizer = "sgd"});
  EXPECT_EQ(steps_of(set, "update", "sgd").size(), 28u);
  for (auto const& b : set.shape->buffers) EXPECT_NE(b.role, Role::moment2);
}

TEST(Lower, shares_caches_between_prefill_and_decode) {
  auto const set = set_of({.bf16 = true}, 0, Purpose::generate);
  auto const prefill = steps_of(set, "prefill", "attention_cached"),
             decode = steps_of(set, "decode", "attention_cached");
  ASSERT_EQ(prefill.size(), 2u);
  ASSERT_EQ(decode.size(), 2u);
  EXPECT_EQ(prefill[1].in[1], decode[1].in[1]);
  EXPECT_EQ(prefill[1].in[1], prefill[1].out[1]);
  EXPECT_EQ(prefill[1].in[3], set.shape->find_buffer("position", Role::input));
  for (auto const* name : {"prefill.tokens", "decode.tokens", "last"}) {
    EXPECT_GE(set.shape->find_buffer(name, Role::input), 0) << name;
  }
  for (auto const* name : {"prefill.logits", "decode.logits"}) {
    EXPECT_GE(set.shape->find_buffer(name, Role::output), 0) << name;
  }
}

TEST(Lower, appends_scratch_as_the_last_output) {
  auto const set = set_of({});
  auto const product = steps_of(set, "forward_backward", "linear").front();
  auto const& scratch = set.shape->buffers[static_cast<std::size_t>(product.out.back())];
  EXPECT_EQ(scratch.role, Role::scratch);
  EXPECT_EQ(scratch.spec.dtype, DType::u8);
  EXPECT_EQ(product.out.size(), 2u);
}

}  // namespace
}  // namespace lamina::plan
