#pragma once

// What training left behind, and how near it is to another run's.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

namespace lamina::test {

struct Outcome {
  std::vector<double> losses;
  std::map<std::string, std::vector<float>> before, after;  // whole parameters, on the first rank
};

/// max |a - b| / |b| of losses.
inline double worst_loss(std::vector<double> const& a, std::vector<double> const& b) {
  double most = a.size() == b.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    double const d = std::abs(a[i] - b[i]) / std::abs(b[i]);
    most = d > most || std::isnan(d) ? d : most;
  }
  return most;
}

/// ||w - w1|| / ||w1 - w0||, the worst tensor. Biases of keys are left out: their true gradient is zero, and Adam makes
/// steps of full size out of rounding.
inline void expect_equal_weights(Outcome const& some, Outcome const& one, double bound) {
  ASSERT_EQ(some.after.size(), one.after.size());
  for (auto const& [name, w1] : one.after) {
    auto const &w = some.after.at(name), &w0 = one.before.at(name);
    EXPECT_EQ(some.before.at(name), w0) << name << ": other initial values";
    bool const has_key_bias = name.ends_with("qkv.bias");
    double apart = 0, moved = 0;
    for (std::size_t i = 0; i < w1.size(); ++i) {
      if (has_key_bias && i >= w1.size() / 3 && i < 2 * w1.size() / 3) continue;
      apart += std::pow(double{w[i]} - w1[i], 2), moved += std::pow(double{w1[i]} - w0[i], 2);
    }
    EXPECT_GT(moved, 0) << name;
    EXPECT_LE(std::sqrt(apart), bound * std::sqrt(moved)) << name;
  }
}

}  // namespace lamina::test
