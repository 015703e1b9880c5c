#include "plan/detail/policy.hpp"

#include <array>

namespace lamina::plan {
namespace {

struct Row {
  std::string_view dim, axis;
};

// Samples go to replicas; heads, feed-forward columns and the vocabulary to tensor-parallel ranks.
constexpr std::array<Row, 4> table{{
    {"batch", "dp"},
    {"heads", "tp"},
    {"ff", "tp"},
    {"vocab", "tp"},
}};

}  // namespace

std::string_view axis_of(std::string_view dim, Purpose purpose) {
  for (auto const& row : table) {
    if (row.dim != dim) continue;
    // Generation runs one sequence: every replica computes the same one.
    if (purpose == Purpose::generate && row.axis == "dp") return "";
    return row.axis;
  }
  return "";
}

}  // namespace lamina::plan
