// Plans of 1,024 ranks: 96 layers over 8 stages of 8 tensor-parallel ranks and 16 replicas, 64 micro-batches. A random
// 1 % of the ranks is expanded and compared with what is planned for that rank alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>
#include <set>

#include "lamina/base/text.hpp"
#include "plan/detail/plan.hpp"
#include "support/golden.hpp"
#include "support/plan_cases.hpp"
#include "support/random.hpp"

namespace lamina::plan {
namespace {

using test::PlanCase;

struct Big {
  std::string schedule;
  std::int64_t zero = 0;
  friend void PrintTo(Big const& b, std::ostream* out) { *out << b.schedule << " zero " << b.zero; }
};

PlanCase case_of(Big const& b) {
  return {.world = 1024,
          .micro = 1,
          .global = 16 * 64,
          .layers = 96,
          .hidden = 1024,
          .heads = 16,
          .tokens = 1024,
          .vocab = 50257,
          .threads = 1,
          .tp = 8,
          .pp = 8,
          .zero = b.zero,
          .chunks = b.schedule == "interleaved" ? 2 : 1,
          .schedule = b.schedule};
}

/// Rows of a table that are alike but for a number, cut down to the first and the last few.
std::string shortened(std::string const& whole) {
  constexpr std::size_t kept = 16;
  std::vector<std::string> lines = split(whole, '\n'), layers;
  std::string out;
  auto const flush = [&] {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (i == kept && layers.size() > 2 * kept) out += text("  ... ", layers.size() - 2 * kept, " more\n");
      if (i < kept || i + kept >= layers.size()) out += layers[i] + "\n";
    }
    layers.clear();
  };
  for (auto const& line : lines) {
    if (line.starts_with("  blocks.")) {
      layers.push_back(line);
    } else {
      flush(), out += line + "\n";
    }
  }
  return out;
}

/// What the ranks of each kind have, and the hash of its text.
std::string kinds_text(Plan const& plan) {
  std::string out;
  for (std::size_t k = 0; k < plan.kinds.size(); ++k) {
    auto const& kind = plan.kinds[k];
    auto const& shape = *plan.shapes[k];
    out += text("kind ", k, ": stage ", kind.stage, ", as replica ", kind.replica, ", ", shape.buffers.size(),
                " buffers, arena ", shape.arena_bytes[0], ", text ", program::hash(shape));
    for (auto const& p : shape.programs) out += text(", ", p.name, " ", p.steps.size());
    out += "\n";
  }
  return out;
}

/// Every group of a rank lists ranks that differ from it along its axis only, and all of them say the same.
void expect_groups(Plan const& plan, program::ProgramSet const& set) {
  int const rank = set.binding.rank;
  for (std::size_t g = 0; g < set.shape->groups.size(); ++g) {
    auto const& group = set.shape->groups[g];
    auto const& members = set.binding.members[g];
    EXPECT_EQ(std::set<int>(members.begin(), members.end()).size(), members.size());
    EXPECT_THAT(members, ::testing::Contains(rank));
    auto const asked = members.size() > 16 ? std::vector<int>{members.front(), members.back()} : members;
    for (int const m : asked) {
      auto const other = lower(plan, m);
      std::size_t at = 0;
      while (at < other.shape->groups.size() && other.shape->groups[at].name != group.name) ++at;
      ASSERT_LT(at, other.shape->groups.size()) << group.name << " of rank " << rank << " at rank " << m;
      EXPECT_EQ(other.shape->groups[at], group);
      EXPECT_EQ(other.binding.members[at], members) << group.name << " of rank " << rank << " at rank " << m;
      for (std::size_t a = 0; a < plan.mesh.axes.size() && !group.axis.empty(); ++a) {
        if (plan.mesh.axes[a] == group.axis) continue;
        EXPECT_EQ(other.binding.coordinates[a], set.binding.coordinates[a]) << group.name << ' ' << rank << ' ' << m;
      }
    }
  }
}

/// The ranks of a stage hold all of every tensor of theirs: their distinct boxes are as many elements as it has.
void expect_whole_tensors(Plan const& plan, int stage) {
  struct Held {
    std::int64_t global = 0, elements = 0;
    std::set<std::string> boxes;
  };
  std::map<std::pair<std::string, Role>, Held> tensors;
  for (int rank = 0; rank < plan.mesh.world(); ++rank) {
    if (plan.coordinate(rank, "pp") != stage) continue;
    auto const set = lower(plan, rank);
    for (std::size_t b = 0; b < set.shape->buffers.size(); ++b) {
      auto const& buffer = set.shape->buffers[b];
      bool const held = buffer.role == Role::parameter || buffer.role == Role::gradient ||
                        buffer.role == Role::moment1 || buffer.role == Role::moment2;
      if (!held) continue;
      auto& t = tensors[{buffer.name, buffer.role}];
      t.global = buffer.global_shape.count();
      auto const& boxes = set.binding.slabs;
      if (b >= boxes.size() || boxes[b].empty()) t.elements = t.global;  // whole on this rank
      for (std::size_t i = 0; b < boxes.size() && i < boxes[b].size(); ++i) {
        auto const& box = boxes[b][i];
        if (t.boxes.insert(text(box.offset, box.extent)).second) t.elements += box.extent.count();
      }
    }
  }
  for (auto const& [key, t] : tensors) EXPECT_EQ(t.elements, t.global) << key.first << " of stage " << stage;
}

class ScalePlan : public ::testing::TestWithParam<Big> {};

TEST_P(ScalePlan, a_thousand_ranks_are_planned_and_a_hundredth_of_them_expanded) {
  auto const start = std::chrono::steady_clock::now();
  auto const plan = test::make_plan(case_of(GetParam()));  // and verified
  std::chrono::duration<double> const took = std::chrono::steady_clock::now() - start;
  std::cout << plan->shapes.size() << " templates, " << plan->shapes[0]->programs[0].steps.size()
            << " steps on rank 0: planned and verified in " << took.count() << " s\n";
  test::Random random(1024);
  for (int n = 0; n < plan->mesh.world() / 100; ++n) {
    int const rank = random.below(plan->mesh.world());
    SCOPED_TRACE(text("rank ", rank));
    auto const set = lower(*plan, rank);
    EXPECT_TRUE(program::verify(set).empty());
    int const replica = plan->coordinate(rank, "dp");
    auto const alone = lower_kind(*plan, {.stage = plan->coordinate(rank, "pp"),
                                          .replica = replica,
                                          .micro_batches = plan->micro_batches[static_cast<std::size_t>(replica)]});
    EXPECT_TRUE(alone == *set.shape);
    expect_groups(*plan, set);
    if (n == 0) {
      EXPECT_TRUE(program::parse(program::print(set)) == set);
      expect_whole_tensors(*plan, plan->coordinate(rank, "pp"));
    }
  }
  auto const name = text("plan/gpt_1024_", GetParam().schedule, "_zero", GetParam().zero, ".txt");
  test::expect_golden(shortened(to_text(*plan)) + kinds_text(*plan), name);
}

INSTANTIATE_TEST_SUITE_P(schedules, ScalePlan,
                         ::testing::Values(Big{"gpipe", 0}, Big{"1f1b", 0}, Big{"interleaved", 0}, Big{"zb-h1", 0},
                                           Big{"gpipe", 1}, Big{"1f1b", 1}, Big{"interleaved", 1}, Big{"zb-h1", 1},
                                           Big{"1f1b", 2}, Big{"1f1b", 3}));

}  // namespace
}  // namespace lamina::plan
