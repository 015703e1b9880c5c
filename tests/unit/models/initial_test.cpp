#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "support/tiny_gpt.hpp"

namespace lamina::models {
namespace {

using graph::Init;

graph::Value make_parameter(std::string name, Init init, std::int64_t count) {
  graph::Value v;
  v.name = std::move(name), v.spec = {DType::f32, {count}}, v.role = Role::parameter, v.init = init;
  return v;
}

std::vector<float> fill(graph::Value const& v, std::int64_t seed, std::int64_t first, std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  fill_initial(v, seed, first, count, out.data());
  return out;
}

struct Moments {
  double mean = 0, stddev = 0, largest = 0;
};

Moments moments(std::vector<float> const& x) {
  Moments m;
  for (float const e : x) m.mean += e / static_cast<double>(x.size());
  for (float const e : x) m.stddev += (e - m.mean) * (e - m.mean) / static_cast<double>(x.size());
  for (float const e : x) m.largest = std::max(m.largest, std::abs(static_cast<double>(e)));
  m.stddev = std::sqrt(m.stddev);
  return m;
}

Init const normal{.kind = Init::Kind::normal, .stddev = 0.02};

TEST(FillInitial, draws_normal_values_of_the_given_deviation) {
  std::int64_t const n = 100000;
  auto const m = moments(fill(make_parameter("w", normal, n), 1, 0, n));
  double const error = 0.02 / std::sqrt(static_cast<double>(n));  // of the mean; of the deviation, over sqrt(2)
  EXPECT_NEAR(m.mean, 0, 4 * error);
  EXPECT_NEAR(m.stddev, 0.02, 4 * error / std::sqrt(2.0));
  EXPECT_GT(m.largest, 3.5 * 0.02) << "tails are not cut";
}

TEST(FillInitial, gives_the_same_elements_however_they_are_cut) {
  auto const v = make_parameter("w", normal, 101);
  auto const whole = fill(v, 7, 0, 101);
  for (std::int64_t const cut : {1, 2, 3, 4, 5, 50, 97, 100}) {
    auto parts = fill(v, 7, 0, cut);
    auto const rest = fill(v, 7, cut, 101 - cut);
    parts.insert(parts.end(), rest.begin(), rest.end());
    EXPECT_EQ(parts, whole) << "cut at " << cut;
  }
  EXPECT_TRUE(fill(v, 7, 50, 0).empty());
}

TEST(FillInitial, depends_on_seed_and_name) {
  auto const a = fill(make_parameter("a", normal, 8), 1, 0, 8);
  EXPECT_NE(fill(make_parameter("b", normal, 8), 1, 0, 8), a);
  EXPECT_NE(fill(make_parameter("a", normal, 8), 2, 0, 8), a);
  EXPECT_NE(fill(make_parameter("a", normal, 8), 1 + (std::int64_t{1} << 32), 0, 8), a) << "all 64 bits of the seed";
  EXPECT_EQ(fill(make_parameter("a", normal, 8), 1, 0, 8), a);
}

TEST(FillInitial, reaches_elements_beyond_32_bits) {
  auto const v = make_parameter("huge", normal, 1);
  std::int64_t const far = (std::int64_t{1} << 34) + 5;
  EXPECT_NE(fill(v, 1, far, 8), fill(v, 1, 5, 8));
  EXPECT_EQ(fill(v, 1, far + 3, 1)[0], fill(v, 1, far, 8)[3]);
}

TEST(FillInitial, fills_with_zeros_and_ones) {
  EXPECT_EQ(fill(make_parameter("b", {}, 3), 1, 0, 3), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(fill(make_parameter("s", {.kind = Init::Kind::ones}, 3), 1, 1, 2), (std::vector<float>{1, 1}));
}

TEST(FillInitial, agrees_with_an_independent_program) {
  // tests/data/models/initial_values.py blocks.0.attn.qkv.weight 1 0.02
  std::vector<double> const expected{0.032985049934240375, 0.009558164016272375, -0.0066166969571934625,
                                     0.04131973231135162};
  auto const found = fill(make_parameter("blocks.0.attn.qkv.weight", normal, 4), 1, 0, 4);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(found[i], static_cast<float>(expected[i]));
}

}  // namespace
}  // namespace lamina::models
