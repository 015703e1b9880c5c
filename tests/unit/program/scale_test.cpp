// A thousand ranks on a laptop: what a big plan looks like to the verifier. Times are for reading, not asserted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>
#include <set>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"
#include "support/program_stages.hpp"

namespace lamina::program {
namespace {

using test::make_stages;
using test::Mesh;

std::string verdict(std::vector<ProgramSet> const& sets) {
  auto const begin = std::chrono::steady_clock::now();
  auto const problems = verify(sets);
  std::chrono::duration<double> const seconds = std::chrono::steady_clock::now() - begin;
  std::size_t steps = 0;
  for (auto const& p : sets[0].shape->programs) steps += p.steps.size();
  std::cout << sets.size() << " ranks, " << steps << " steps on rank 0: verified in " << seconds.count() << " s\n";
  return problems.empty() ? "" : problems.front().rule + ": " + problems.front().message;
}

TEST(VerifyScale, a_thousand_ranks_of_one_template) { EXPECT_EQ(verdict(make_stages({1, 128, 8}, 16, 96)), ""); }

TEST(VerifyScale, a_thousand_ranks_in_eight_stages) { EXPECT_EQ(verdict(make_stages({8, 16, 8}, 32, 12)), ""); }

// With all forwards first, middle stages have equal programs, and only a play of all ranks can tell the chain of them
// from a circle.
TEST(VerifyScale, a_thousand_ranks_whose_stages_share_templates) {
  auto const sets = make_stages({8, 16, 8}, 32, 12, -1, /*gpipe=*/true);
  std::set<Template const*> shapes;
  for (auto const& set : sets) shapes.insert(set.shape.get());
  EXPECT_EQ(shapes.size(), 4u);
  EXPECT_EQ(verdict(sets), "");
}

// All middle stages share one template: the classes of ranks have to tell them apart.
TEST(VerifyScale, a_long_chain_of_stages) { EXPECT_EQ(verdict(make_stages({64, 2, 2}, 8, 4, -1, /*gpipe=*/true)), ""); }

TEST(VerifyScale, small_meshes) {
  for (Mesh const mesh : {Mesh{1, 1, 1}, Mesh{2, 1, 1}, Mesh{3, 2, 1}, Mesh{5, 1, 3}}) {
    EXPECT_EQ(verdict(make_stages(mesh, 2 * mesh.pp, 2)), "") << mesh.pp;
  }
}

TEST(VerifyScale, a_stuck_stage_among_a_thousand_ranks_is_named) {
  auto const found = verdict(make_stages({8, 16, 8}, 32, 2, /*stuck_stage=*/5));
  EXPECT_THAT(found, ::testing::StartsWith("deadlock: "));
  EXPECT_THAT(found, ::testing::HasSubstr("rank 640 waits in step"));
}

}  // namespace
}  // namespace lamina::program
