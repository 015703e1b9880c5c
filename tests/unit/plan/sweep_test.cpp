#include "plan/detail/sweep.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "lamina/base/philox.hpp"
#include "support/pipeline_lifetimes.hpp"

namespace lamina::plan {
namespace {

std::int64_t live_bytes(std::vector<Lifetime> const& all) {
  std::map<std::int64_t, std::int64_t> change;
  for (auto const& t : all) change[t.first] += aligned(t.bytes), change[t.last + 1] -= aligned(t.bytes);
  std::int64_t now = 0, most = 0;
  for (auto const& [time, bytes] : change) most = std::max(most, now += bytes);
  return most;
}

/// Plays the time line with the bytes in use as intervals: fast for many lifetimes.
void expect_sound(std::vector<Lifetime> const& all, Packing const& p) {
  ASSERT_EQ(p.offsets.size(), all.size());
  struct Event {
    std::int64_t time;
    bool begins;
    std::size_t item;
  };
  std::vector<Event> events;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].bytes == 0) continue;
    ASSERT_EQ(p.offsets[i] % alignment, 0);
    ASSERT_GE(p.offsets[i], 0);
    ASSERT_LE(p.offsets[i] + all[i].bytes, p.bytes);
    events.push_back({all[i].first, true, i}), events.push_back({all[i].last + 1, false, i});
  }
  std::stable_sort(events.begin(), events.end(), [](Event const& a, Event const& b) {
    return a.time != b.time ? a.time < b.time : a.begins < b.begins;  // ends first
  });
  std::map<std::int64_t, std::int64_t> used;
  for (auto const& e : events) {
    auto const from = p.offsets[e.item], to = from + all[e.item].bytes;
    if (!e.begins) {
      used.erase(from);
      continue;
    }
    auto const next = used.lower_bound(from);
    ASSERT_TRUE(next == used.end() || next->first >= to) << "item " << e.item;
    ASSERT_TRUE(next == used.begin() || std::prev(next)->second <= from) << "item " << e.item;
    used.emplace(from, to);
  }
}

struct Case {
  char const* schedule;
  int p, chunks, coordinate;
};

class PackPipeline : public ::testing::TestWithParam<Case> {};

// 64 micro-batches of 12 layers: 27,000 lifetimes, up to 1,000 of them at once.
TEST_P(PackPipeline, stays_within_two_percent_of_the_bound) {
  auto const& c = GetParam();
  auto const schedule = make_schedule(c.schedule, cyclic(c.p, c.chunks), c.p, 64);
  auto const all = test::pipeline_lifetimes(schedule, c.coordinate, 12 / c.chunks, /*odd=*/true);
  ASSERT_GT(all.size(), 20'000u);
  auto const p = pack(all);
  expect_sound(all, p);
  auto const bound = live_bytes(all);
  EXPECT_GE(p.bytes, bound);
  EXPECT_LE(p.bytes * 50, bound * 51) << static_cast<double>(p.bytes) / static_cast<double>(bound);
  EXPECT_EQ(pack(all).offsets, p.offsets);
}

INSTANTIATE_TEST_SUITE_P(of, PackPipeline,
                         ::testing::Values(Case{"gpipe", 4, 1, 0}, Case{"1f1b", 8, 1, 0}, Case{"1f1b", 4, 1, 2},
                                           Case{"interleaved", 4, 4, 0}, Case{"interleaved", 8, 2, 7},
                                           Case{"zb-h1", 4, 1, 0}, Case{"zb-h1", 8, 1, 7}));

TEST(Sweep, is_sound_on_any_lifetimes) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    std::vector<Lifetime> all;
    for (std::uint64_t i = 0; i < 300 * seed; ++i) {
      auto const w = Philox::block(seed, 4 * i, 0, 0);
      auto const length = w[3] % 8 == 0 ? w[2] % 500 : w[2] % 6;  // few long ones
      auto const first = static_cast<std::int64_t>(w[0] % 1000);
      all.push_back(
          {aligned(1 + static_cast<std::int64_t>(w[1] % 5000)), first, first + static_cast<std::int64_t>(length)});
    }
    std::stable_sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return a.first < b.first; });
    expect_sound(all, sweep(all, live_bytes(all)));
  }
}

}  // namespace
}  // namespace lamina::plan
