#include "plan/detail/memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/base/philox.hpp"

namespace lamina::plan {
namespace {

std::int64_t most_in_use(std::vector<Lifetime> const& all) {
  std::int64_t most = 0;
  for (auto const& at : all) {
    std::int64_t now = 0;
    for (auto const& t : all) now += t.first <= at.first && at.first <= t.last ? aligned(t.bytes) : 0;
    most = std::max(most, now);
  }
  return most;
}

void expect_sound(std::vector<Lifetime> const& all, Packing const& p) {
  ASSERT_EQ(p.offsets.size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(p.offsets[i] % alignment, 0);
    EXPECT_LE(p.offsets[i] + all[i].bytes, p.bytes);
    for (std::size_t j = 0; j < i; ++j) {
      bool const meet = all[i].first <= all[j].last && all[j].first <= all[i].last;
      bool const share = p.offsets[i] < p.offsets[j] + all[j].bytes && p.offsets[j] < p.offsets[i] + all[i].bytes;
      EXPECT_FALSE(meet && share) << i << " and " << j;
    }
  }
  EXPECT_GE(p.bytes, most_in_use(all));
}

TEST(Pack, needs_nothing_for_nothing) {
  EXPECT_EQ(pack({}).bytes, 0);
  std::vector<Lifetime> const empty{{0, 0, 5}};
  EXPECT_EQ(pack(empty).bytes, 0);
}

TEST(Pack, shares_bytes_in_time_and_separates_what_meets) {
  std::vector<Lifetime> const in_turn{{100, 0, 1}, {64, 2, 3}, {1, 4, 4}};
  EXPECT_EQ(pack(in_turn).bytes, 128);
  std::vector<Lifetime> const together{{100, 0, 3}, {64, 2, 5}, {1, 3, 4}};
  EXPECT_EQ(pack(together).bytes, 128 + 64 + 64);
  expect_sound(together, pack(together));
}

TEST(Pack, reaches_the_bound_on_nested_lifetimes_of_a_forward_and_backward) {
  std::vector<Lifetime> all;
  int const layers = 40;
  for (int i = 0; i < layers; ++i) all.push_back({1000 + 64 * (i % 7), 4 * i, 8 * layers - 4 * i});
  for (int i = 0; i < 2 * layers; ++i) all.push_back({5000, 4 * i + 2, 4 * i + 2});
  auto const p = pack(all);
  expect_sound(all, p);
  EXPECT_EQ(p.bytes, most_in_use(all));
}

TEST(Pack, stays_within_a_tenth_of_the_bound_on_random_lifetimes) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    std::vector<Lifetime> all;
    auto const count = 1 + seed * 2;
    for (std::uint64_t i = 0; i < count; ++i) {
      auto const w = Philox::block(seed, 4 * i, 0, 0);
      auto const first = static_cast<std::int64_t>(w[0] % 100);
      all.push_back({static_cast<std::int64_t>(w[1] % 5000), first, first + static_cast<std::int64_t>(w[2] % 40)});
    }
    for (std::int64_t const kinds : {1, 1'000'000}) {  // the second: without refinement
      auto const p = pack(all, 0, kinds);
      expect_sound(all, p);
      EXPECT_LE(p.bytes * 100, most_in_use(all) * (kinds == 1 ? 110 : 115))
          << "seed " << seed << ", " << kinds << " kinds";
    }
  }
}

TEST(Pack, gives_equal_stretches_of_time_equal_offsets) {
  std::vector<Lifetime> all;
  for (std::int64_t m = 0; m < 5; ++m) {
    all.push_back({700, 10 * m, 10 * m + 8}), all.push_back({300, 10 * m + 2, 10 * m + 4});
    all.push_back({900, 10 * m + 6, 10 * m + 8}), all.push_back({64, 10 * m + 4, 10 * m + 6});
  }
  auto const p = pack(all);
  expect_sound(all, p);
  for (std::size_t i = 4; i < all.size(); ++i) EXPECT_EQ(p.offsets[i], p.offsets[i - 4]);
}

/// Compute: 0 writes a; 1 and 2 write b and c; 3 reads a again when `joins` says so. On comm.dp a is reduced after 0.
program::Template overlapped(int wait_in) {
  program::Template t;
  t.groups.push_back({.name = "dp", .axis = "dp"});
  for (auto const* name : {"a", "b", "c"}) {
    t.buffers.push_back({.name = name,
                         .role = Role::activation,
                         .spec = {DType::f32, {32}},
                         .global_shape = {32},
                         .bytes = 128,
                         .program = 0});
  }
  program::Program p{.name = "p", .streams = {{"compute", -1}, {"comm.dp", 0}}, .steps = {}};
  auto const step = [&](int out) { p.steps.push_back({.op = "zero", .out = {out}}); };
  step(0);
  p.steps.push_back({.stream = 1,
                     .kind = program::StepKind::all_reduce,
                     .attributes = {{"reduce", std::string("sum")}},
                     .in = {0},
                     .out = {0},
                     .group = 0,
                     .after = {0}});
  step(1), step(2);
  if (wait_in > 0) p.steps[static_cast<std::size_t>(wait_in)].after = {1};
  t.programs.push_back(std::move(p));
  return t;
}

std::vector<program::Problem> judge(program::Template t) {
  program::Binding const one{.rank = 0, .world = 1, .axes = {"dp"}, .coordinates = {0}, .members = {{0}}};
  return program::verify({std::make_shared<program::Template const>(std::move(t)), one});
}

TEST(Lifetimes, last_until_a_compute_step_waits_for_the_communication) {
  auto never = overlapped(-1), at_second = overlapped(3), at_first = overlapped(2);
  for (auto* t : {&never, &at_second, &at_first}) place_transients(*t, 0);
  EXPECT_EQ(never.arena_bytes[0], 256);      // b and c share, a is in flight to the end
  EXPECT_EQ(at_second.arena_bytes[0], 256);  // c could share with a
  EXPECT_EQ(at_first.arena_bytes[0], 128);   // all three share
  for (auto const& t : {never, at_second, at_first}) EXPECT_THAT(judge(t), ::testing::IsEmpty());
  EXPECT_NE(never.buffers[0].offset, never.buffers[1].offset);
}

TEST(Lifetimes, are_needed_the_verifier_rejects_sharing_during_communication) {
  auto t = overlapped(-1);
  for (auto& b : t.buffers) b.offset = 0;
  t.arena_bytes[0] = 128;
  EXPECT_FALSE(judge(t).empty());
}

TEST(LivenessBound, counts_what_is_in_use_at_one_step_without_rounding) {
  program::Template t;
  for (std::int64_t n : {3, 5, 7}) {
    t.buffers.push_back({.name = std::to_string(n),
                         .role = Role::activation,
                         .spec = {DType::f32, {n}},
                         .global_shape = {n},
                         .bytes = 64,
                         .program = 0});
  }
  t.buffers.push_back(
      {.name = "p", .role = Role::parameter, .spec = {DType::f32, {2}}, .global_shape = {2}, .bytes = 64});
  program::Program p{.name = "p", .streams = {{"compute", -1}}, .steps = {}};
  p.steps.push_back({.op = "a", .out = {0}});
  p.steps.push_back({.op = "b", .in = {0}, .out = {1}});
  p.steps.push_back({.op = "c", .in = {1}, .out = {2}});
  t.programs.push_back(std::move(p));
  auto const bound = liveness_bound(t, program::Space::host);
  EXPECT_EQ(bound.persistent, 8);
  EXPECT_EQ(bound.transient[0], (5 + 7) * 4);
  EXPECT_EQ(bound.step[0], 2);
  EXPECT_EQ(bound.peak(), 8 + 48);
}

TEST(LivenessBound, counts_what_a_communication_step_reads_while_its_turn_surely_lies_ahead) {
  auto const transient = [](std::vector<int> after, std::vector<int> waits) {
    auto t = overlapped(-1);  // a, the all-reduce of a, b, c
    t.buffers[2].spec.shape = {64}, t.buffers[2].global_shape = {64}, t.buffers[2].bytes = 256;
    auto& steps = t.programs[0].steps;
    std::rotate(steps.begin() + 1, steps.begin() + 2, steps.end());  // a, b, c, the all-reduce
    steps[3].after = std::move(after);
    steps.push_back({.op = "d", .in = {2}, .after = std::move(waits)});
    auto const bound = liveness_bound(t, program::Space::host);
    EXPECT_LE(bound.transient[0], live_bytes(lifetimes(t, 0)));
    return bound.transient[0];
  };
  auto const one = overlapped(-1).buffers[0].spec.bytes();
  EXPECT_EQ(transient({0}, {3}), 2 * one) << "it may be over before b; c alone";
  EXPECT_EQ(transient({2}, {3}), 3 * one) << "a is held beside c";
  EXPECT_EQ(transient({2}, {}), 3 * one) << "though nothing waits";
}

}  // namespace
}  // namespace lamina::plan
