#include "lamina/plan/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/tensor/reduction.hpp"
#include "plan/detail/memory.hpp"
#include "support/errors.hpp"
#include "support/plan_cases.hpp"
#include "support/temporary.hpp"

namespace lamina::plan {
namespace {

using test::PlanCase;
using ::testing::HasSubstr;
using ::testing::Not;

/// Worlds, batches that fill the micro-batches and that do not, and everything that changes the programs.
std::vector<PlanCase> combinations() {
  std::vector<PlanCase> all;
  for (std::int64_t const world : {1, 2, 3, 5}) {
    for (std::int64_t const micro : {1, 3}) {
      for (std::int64_t const global : {world, 7 * world - 1, 6 * world}) {
        for (std::int64_t const bucket : {1, 5000, 25 << 20}) {
          PlanCase c{.world = world, .micro = micro, .global = global, .layers = 1, .bucket = bucket};
          auto const n = all.size();  // the switches in turn: each value meets each world
          c.dropout = n % 2 == 0 ? 0.1 : 0;
          c.tied = n % 3 != 0;
          c.bf16 = n % 5 < 2;
          c.fuse = n % 7 < 4;
          c.overlap = n % 4 < 2;
          c.packs = n % 11 < 7;
          c.head_bias = n % 13 < 5;
          c.norm = n % 6 == 5 ? "post" : "pre";
          c.activation = n % 9 < 3 ? "relu" : "gelu";
          c.optimizer = n % 8 == 7 ? "sgd" : "adamw";
          all.push_back(c);
        }
      }
    }
  }
  return all;
}

std::string describe(PlanCase const& c) {
  return text("world ", c.world, " micro ", c.micro, " global ", c.global, " bucket ", c.bucket, " dropout ",
              exact(c.dropout), " tied ", c.tied, " bf16 ", c.bf16, " fuse ", c.fuse, " overlap ", c.overlap, " packs ",
              c.packs, " bias ", c.head_bias, " ", c.norm, " ", c.activation, " ", c.optimizer);
}

TEST(Plan, passes_its_verification_in_every_combination) {
  for (auto const& c : combinations()) {
    for (auto const purpose : {Purpose::train, Purpose::eval, Purpose::generate}) {
      auto const plan = test::make_plan(c, purpose);
      auto const ranks = lower_all(*plan);
      ASSERT_EQ(static_cast<std::int64_t>(ranks.size()), c.world);
      EXPECT_THAT(mismatch(ranks), "") << describe(c);
      for (auto const& set : ranks) {
        auto const problems = program::verify(set);
        EXPECT_TRUE(problems.empty()) << describe(c) << "\n" << problems[0].message;
      }
    }
  }
}

TEST(Plan, passes_its_verification_on_every_mesh) {
  int n = 0;
  for (std::int64_t const dp : {1, 2, 3}) {
    for (std::int64_t const tp : {1, 2, 4}) {
      for (std::int64_t const pp : {1, 2, 3}) {
        for (std::int64_t const zero : {0, 1, 2, 3}) {
          for (std::string const schedule : {"1f1b", "gpipe", "zb-h1", "interleaved"}) {
            if ((dp == 1 && zero > 0) || (pp == 1 && schedule != "1f1b") || dp * tp * pp > 12) continue;
            PlanCase c{.world = dp * tp * pp, .micro = 1, .global = 6 * dp, .layers = 5, .heads = 4, .vocab = 41};
            c.tp = tp, c.pp = pp, c.zero = zero, c.schedule = schedule;
            c.chunks = schedule == "interleaved" ? 2 : 1;
            if (++n % 4 != 0) continue;  // a part of them, and the switches in turn
            c.bf16 = n % 3 == 0, c.tied = n % 5 != 0, c.sequence_parallel = n % 4 != 0, c.dropout = n % 7 < 3 ? 0.1 : 0;
            c.head_bias = n % 11 < 4, c.norm = n % 13 < 3 ? "post" : "pre", c.bucket = n % 2 ? 3000 : 25 << 20;
            c.recompute = n % 6 == 4 ? "full" : n % 6 == 5 ? "selective" : "none";
            for (auto const purpose : {Purpose::train, Purpose::eval, Purpose::generate}) {
              EXPECT_NO_THROW({
                auto const plan = test::make_plan(c, purpose);
                EXPECT_THAT(mismatch(lower_all(*plan)), "");
              }) << describe(c)
                 << " tp " << tp << " pp " << pp << " zero " << zero << " " << schedule;
            }
          }
        }
      }
    }
  }
}

TEST(Plan, stays_within_two_percent_of_the_liveness_bound) {
  auto const all = combinations();
  for (std::size_t n = 0; n < all.size(); n += 5) {
    auto c = all[n];  // sizes at which activations, not a library's scratch, decide
    c.layers = 5, c.hidden = 384, c.heads = 6, c.tokens = 512, c.vocab = 5003;
    for (auto const purpose : {Purpose::train, Purpose::eval}) {
      // An unfused chain can be so tight that no assignment reaches the bound; it is 2.8 % at the worst here.
      if (purpose == Purpose::eval && !c.fuse) continue;
      auto const set = lower(*test::make_plan(c, purpose), 0);
      auto const bound = liveness_bound(*set.shape, program::Space::host);
      EXPECT_LE(set.shape->arena_bytes[0] * 100, bound.peak() * 102) << describe(c);
      if (purpose == Purpose::eval) continue;
      // And without what persists.
      auto const transient = *std::max_element(bound.transient.begin(), bound.transient.end());
      std::int64_t base = 0;
      for (auto const& b : set.shape->buffers) base = std::max(base, b.program < 0 ? b.offset + b.bytes : 0);
      EXPECT_LE((set.shape->arena_bytes[0] - base) * 100, transient * 102) << describe(c);
    }
  }
}

// A head's scratch, or the whole gradient of an embedding, comes again with every micro-batch, while what lives across
// it changes. The second has so many lifetimes that they are swept.
TEST(Plan, packs_large_buffers_that_come_again_within_two_percent_of_what_is_in_use) {
  PlanCase c{
      .world = 2, .micro = 1, .global = 8, .layers = 12, .hidden = 384, .heads = 12, .tokens = 256, .vocab = 50257};
  c.threads = 1, c.pp = 2;
  auto const expect_tight = [](PlanCase const& wanted, int rank) {
    auto const set = lower(*test::make_plan(wanted), rank);
    std::int64_t base = 0;
    for (auto const& b : set.shape->buffers) base = std::max(base, b.program < 0 ? b.offset + b.bytes : 0);
    auto const live = live_bytes(lifetimes(*set.shape, 0));
    EXPECT_LE((set.shape->arena_bytes[0] - base) * 100, live * 102) << wanted.schedule << " " << wanted.global;
  };
  c.schedule = "interleaved", c.chunks = 2;
  expect_tight(c, 1);
  c.schedule = "1f1b", c.chunks = 1, c.zero = 2, c.world = 4, c.global = 128;
  expect_tight(c, 0);
}

TEST(Plan, holds_whole_gradients_for_no_longer_than_a_few_buckets_with_zero_2_and_3) {
  PlanCase c{.world = 2, .micro = 1, .global = 6, .layers = 8, .hidden = 128, .tokens = 4, .bucket = 300 << 10};
  auto const arena = [&](std::int64_t zero) {
    c.zero = zero;
    return lower(*test::make_plan(c), 0).shape->arena_bytes[0];
  };
  std::int64_t gradients = 0;
  auto const graph = test::plan_graphs(c, Purpose::train).train;
  for (int const id : graph.parameters()) gradients += graph.value(id).spec.bytes();
  auto const one = arena(1), two = arena(2), three = arena(3);
  EXPECT_LE(two, one - gradients / 2 + 4 * c.bucket);
  auto const block = gradients / c.layers;  // gathered, and the next one ahead
  EXPECT_LE(three, two - gradients / 2 + 3 * block);
}

TEST(Plan, is_the_same_twice) {
  PlanCase const c{.world = 3, .global = 9, .dropout = 0.1, .bf16 = true, .bucket = 5000};
  EXPECT_EQ(hash(*test::make_plan(c)), hash(*test::make_plan(c)));
  EXPECT_EQ(to_text(*test::make_plan(c)), to_text(*test::make_plan(c)));
}

TEST(Plan, has_a_hash_that_everything_executed_enters) {
  PlanCase const base{.world = 2};
  auto const of = [](PlanCase const& c) { return hash(*test::make_plan(c)); };
  auto const change = [&](auto const& f) {
    auto c = base;
    f(c);
    return of(c);
  };
  EXPECT_NE(of(base), change([](auto& c) { c.world = 4; }));
  EXPECT_NE(of(base), change([](auto& c) { c.bucket = 5000; }));
  EXPECT_NE(of(base), change([](auto& c) { c.threads = 3; }));
  EXPECT_NE(of(base), change([](auto& c) { c.fuse = false; }));
  EXPECT_NE(of(base), change([](auto& c) { c.optimizer = "sgd"; }));
}

TEST(Plan, covers_1024_ranks_of_a_24_layer_model_with_16_micro_batches) {
  PlanCase const c{.world = 1024,
                   .micro = 1,
                   .global = 16 * 1024,
                   .layers = 24,
                   .hidden = 1024,
                   .heads = 16,
                   .tokens = 1024,
                   .vocab = 50257};
  auto const plan = test::make_plan(c);
  EXPECT_THAT(to_text(*plan), HasSubstr("16384 samples a step = 1024 replicas x 16 micro-batches x up to 1 samples"));
  EXPECT_THAT(to_text(*plan), HasSubstr("{0-1023}"));
  auto const ranks = lower_all(*plan);
  EXPECT_EQ(ranks[17].shape, ranks[1023].shape);
  EXPECT_EQ(ranks[1023].binding.members[0].size(), 1024u);
}

TEST(Plan, reports_the_first_disagreement_between_ranks) {
  auto ranks = lower_all(*test::make_plan({.world = 2}));
  auto other = *ranks[1].shape;
  auto& steps = other.programs[1].steps;  // control
  other.groups[1].name = "regulation";
  steps[0].stream = 1, other.programs[1].streams[1].name = "comm.regulation";
  ranks[1].shape = std::make_shared<program::Template const>(std::move(other));
  EXPECT_NE(mismatch(ranks), "");
  EXPECT_EQ(mismatch(lower_all(*test::make_plan({.world = 2}))), "");
}

TEST(Plan, refuses_what_does_not_fit_in_memory_and_says_what_would_help) {
  PlanCase const c{.micro = 4, .global = 8};
  auto config = test::plan_config(c);
  auto machine = test::plan_machine(c);
  auto const graphs = test::plan_graphs(c, Purpose::train);
  auto const peak = peak_bytes(*test::make_plan(c));
  config.memory.limit = peak;
  EXPECT_NO_THROW(make(graphs, config, 1, machine, Purpose::train));
  config.memory.limit = peak - 1;
  auto const e = test::error_of([&] { make(graphs, config, 1, machine, Purpose::train); });
  EXPECT_EQ(e.code, "plan.memory.limit");
  EXPECT_EQ(exit_code_of(e.code), ExitCode::memory);
  EXPECT_THAT(e.found, HasSubstr("activations and scratch"));
  EXPECT_THAT(e.found, HasSubstr("largest buffers: "));
  EXPECT_THAT(e.fix, HasSubstr("batch.micro"));
  EXPECT_THAT(e.fix, HasSubstr("bf16"));
  config.memory.limit = 0;
  machine.memory_bytes = peak - 1;
  EXPECT_EQ(test::error_of([&] { make(graphs, config, 1, machine, Purpose::train); }).code, "plan.memory.limit");
}

TEST(Plan, suggests_no_smaller_micro_batch_where_the_model_alone_is_too_large) {
  PlanCase const c{.micro = 4, .global = 8};
  auto const graphs = test::plan_graphs(c, Purpose::train);
  std::int64_t state = 0, moment = 0;
  auto const set = lower(*test::make_plan(c), 0);
  for (auto const& b : set.shape->buffers) {
    bool const second = b.role == Role::moment2;
    if (second || b.role == Role::parameter || b.role == Role::gradient || b.role == Role::moment1) state += b.bytes;
    if (second) moment += b.bytes;
  }
  auto const fix = [&](std::int64_t limit) {
    auto config = test::plan_config(c);
    config.memory.limit = limit;
    auto const e = test::error_of([&] { make(graphs, config, 1, test::plan_machine(c), Purpose::train); });
    EXPECT_EQ(e.code, "plan.memory.limit");
    return e.fix;
  };
  auto const alone = "parameters, gradients and moments alone need " + human_bytes(state) + " on that rank";
  for (auto const limit : {std::int64_t{1}, state - moment - 1, state - moment, state - 1}) {
    auto const text = fix(limit);
    EXPECT_THAT(text, HasSubstr("a smaller batch.micro does not help: " + alone)) << limit;
    EXPECT_THAT(text, Not(HasSubstr("try a smaller batch.micro")));
    EXPECT_THAT(text, Not(HasSubstr("bf16")));
    EXPECT_THAT(text, HasSubstr("more ranks with mesh.tp or mesh.pp, a smaller model, a higher memory.limit"));
    EXPECT_EQ(text.find("sgd") != text.npos, limit >= state - moment) << limit;
  }
  // The weights' packed copies are too much: they are half as large in bf16.
  EXPECT_THAT(fix(state), HasSubstr("try precision.compute = \"bf16\""));
  EXPECT_THAT(fix(state), HasSubstr("what stays between the steps needs "));
}

TEST(Plan, counts_what_communication_keeps_beside_the_arenas) {
  for (std::int64_t const world : {1, 2, 3, 9}) {
    for (std::int64_t const bucket : {1, 25 << 20}) {  // gradients one by one: small reductions only; all in one
      PlanCase const c{.world = world, .global = 2 * world, .hidden = 32, .bucket = bucket};
      auto const plan = test::make_plan(c);
      std::int64_t largest = 0, all = 0;
      for (auto const& b : lower(*plan, 0).shape->buffers) {
        if (b.role != Role::gradient) continue;
        largest = std::max(largest, b.spec.bytes()), all += b.spec.bytes();
      }
      bool const one = bucket == 1;
      EXPECT_LE(largest, direct_reduction_bytes(static_cast<int>(world))) << "the case is not what it should be";
      auto const ranks = static_cast<int>(world);
      auto const parts = small_reduction_scratch_bytes(ranks);  // control, world, and dp's small ones
      bool const fits = all <= direct_reduction_bytes(ranks);
      auto const scratch = one || fits ? 3 * parts : reduction_scratch_bytes(ranks) + 2 * parts;
      EXPECT_EQ(peak_bytes(*plan) - lower(*plan, 0).shape->arena_bytes[0], scratch) << world << " " << bucket;
      EXPECT_THAT(memory_text(*plan, 0), HasSubstr(scratch == 0 ? "communication scratch: none"
                                                                : text("communication scratch: ", scratch, " bytes")));
      EXPECT_THAT(memory_text(*plan, 0), HasSubstr(text("total: ", peak_bytes(*plan), " bytes")));
    }
  }
}

TEST(Plan, refuses_a_graph_of_another_batch_than_the_run_file_s) {
  PlanCase const c{.world = 2, .micro = 2};
  auto const graphs = test::plan_graphs(c, Purpose::train);
  auto config = test::plan_config(c);
  config.batch.micro = 3;
  auto const e = test::error_of([&] { make(graphs, config, 2, {}, Purpose::train); });
  EXPECT_EQ(e.code, "plan.batch.micro");
  EXPECT_THAT(e.found, HasSubstr("4 samples, mesh.dp = 2, batch.micro = 3"));
  EXPECT_THAT(e.fix, HasSubstr("batch = 6"));
}

TEST(Plan, refuses_more_replicas_than_samples_a_step) {
  PlanCase const c{.world = 4, .micro = 1, .global = 4};
  auto config = test::plan_config(c);
  config.batch.global = 3;
  auto const e = test::error_of([&] { make(test::plan_graphs(c, Purpose::train), config, 4, {}, Purpose::train); });
  EXPECT_EQ(e.code, "plan.batch.replicas");
}

TEST(Plan, refuses_a_schedule_file_for_replicas_of_unlike_micro_batches) {
  test::TemporaryDirectory const directory;
  PlanCase c{.world = 4, .micro = 1, .global = 4, .layers = 2};
  c.pp = 2;
  auto config = test::plan_config(c);
  auto const graphs = test::plan_graphs(c, Purpose::train);
  config.pipeline.schedule = "file";
  config.pipeline.file = test::write_file(directory / "order.txt", "0: F0 F1 B0 B1\n1: F0 B0 F1 B1\n");
  config.batch.shares = {1, 1};
  EXPECT_NO_THROW(make(graphs, config, 4, {}, Purpose::train));
  config.batch.shares = {3, 1};
  auto const e = test::error_of([&] { make(graphs, config, 4, {}, Purpose::train); });
  EXPECT_EQ(e.code, "plan.batch.shares_file");
  EXPECT_THAT(e.found, HasSubstr("replicas of 1 to 3 micro-batches"));
}

TEST(Plan, refuses_a_split_of_what_has_no_weight) {
  PlanCase c{.world = 2};
  c.tp = 2;
  auto config = test::plan_config(c);
  auto const graphs = test::plan_graphs(c, Purpose::train);
  auto const code = [&](std::vector<std::string> const& layers) {
    config.parallel.split = {{layers, "none"}};
    return test::error_of([&] { make(graphs, config, 2, {}, Purpose::train); });
  };
  for (auto const* layer : {"head", "final"}) {
    auto const e = code({"embed", layer});
    EXPECT_EQ(e.code, "plan.split.no_weight") << layer;
    EXPECT_THAT(e.subject, HasSubstr(layer));
  }
  EXPECT_EQ(code({"blocks.7"}).code, "plan.layers.unknown");
  c.head_bias = true;  // which is cut as the vocabulary is
  auto biased = test::plan_config(c);
  biased.parallel.split = {{{"embed", "head"}, "none"}}, biased.parallel.sequence_parallel = false;
  EXPECT_NO_THROW(make(test::plan_graphs(c, Purpose::train), biased, 2, {}, Purpose::train));
  config.parallel.split = {{{"blocks.*", "*"}, "none"}};  // some have none
  EXPECT_NO_THROW(make(graphs, config, 2, {}, Purpose::train));
}

TEST(Plan, refuses_a_purpose_without_its_graph) {
  PlanCase const c;
  auto const train = test::plan_graphs(c, Purpose::train);
  auto const code = [&](Purpose purpose, Graphs const& g) {
    return test::error_of([&] { make(g, test::plan_config(c), 1, {}, purpose); }).code;
  };
  EXPECT_EQ(code(Purpose::generate, train), "plan.graphs.empty");
  EXPECT_EQ(code(Purpose::train, {}), "plan.graphs.empty");
  EXPECT_EQ(code(Purpose::eval, {}), "plan.graphs.empty");
}

TEST(Plan, refuses_a_rank_that_it_does_not_have) {
  EXPECT_EQ(test::error_of([&] { lower(*test::make_plan({}), 1); }).code, "plan.rank.range");
}

}  // namespace
}  // namespace lamina::plan
