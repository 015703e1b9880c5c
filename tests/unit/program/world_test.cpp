// All ranks: communicators, matching, issue order and progress of small hand-written worlds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"

namespace lamina::program {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// A rank of a world in short: member lists, groups ("dp mpi"), streams with their group, steps. Buffers are always
/// %0 f32[8], %1 f32[8], %2 f32[4], all persistent gradients, so that only communication can be wrong.
struct Rank {
  std::vector<std::string> members, groups, steps;
};

ProgramSet make(int rank, int world, Rank const& r, std::string const& program = "update") {
  std::string t = text("lamina-program 1\nrank ", rank, " of ", world, "\n");
  for (std::size_t i = 0; i < r.members.size(); ++i) t += text("members ", i, " ", r.members[i], "\n");
  t += "arena host=192 shared=0 pinned=0 device=0\n";
  for (std::size_t i = 0; i < r.groups.size(); ++i) t += text("group ", i, " ", r.groups[i], "\n");
  t += "buffer 0 a gradient f32[8] host 0+64\nbuffer 1 b gradient f32[8] host 64+64\n";
  t += "buffer 2 c gradient f32[4] host 128+64\n";
  t += text("program 0 ", program, "\nstream 0 compute\n");
  for (std::size_t i = 0; i < r.groups.size(); ++i) {
    auto const name = r.groups[i].substr(0, r.groups[i].find(' '));
    t += text("stream ", i + 1, " comm.", name, " group=", name, "\n");
  }
  for (std::size_t i = 0; i < r.steps.size(); ++i) t += text("step ", i, " ", r.steps[i], "\n");
  return parse(t);
}

std::vector<Problem> verify_world(std::vector<Rank> const& ranks) {
  std::vector<ProgramSet> sets;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    sets.push_back(make(static_cast<int>(i), static_cast<int>(ranks.size()), ranks[i]));
    EXPECT_THAT(verify(sets.back()), ::testing::IsEmpty()) << "rank " << i << " alone is sound";
  }
  return verify(sets);
}

std::string rules(std::vector<Problem> const& problems) {
  std::string out;
  for (auto const& p : problems) out += text(out.empty() ? "" : "\n", p.rule, ": ", p.message);
  return out;
}

/// One problem, of this rule, whose message has all of these.
void expect_problem(std::vector<Problem> const& problems, std::string const& rule, int rank, int step,
                    std::vector<std::string> const& words) {
  ASSERT_EQ(problems.size(), 1u) << rules(problems);
  EXPECT_EQ(problems[0].rule, rule) << rules(problems);
  EXPECT_EQ(problems[0].rank, rank) << rules(problems);
  EXPECT_EQ(problems[0].step, step) << rules(problems);
  for (auto const& word : words) EXPECT_THAT(problems[0].message, HasSubstr(word));
}

Rank const reducer{{"0-1"}, {"dp mpi"}, {"comm.dp all_reduce %0 -> %0", "comm.dp barrier ->"}};

TEST(VerifyWorld, accepts_equal_ranks) { EXPECT_EQ(rules(verify_world({reducer, reducer})), ""); }

TEST(VerifyWorld, accepts_one_rank_and_none) {
  EXPECT_EQ(rules(verify_world({{{"0"}, {"dp mpi"}, {"comm.dp all_reduce %0 -> %0"}}})), "");
  EXPECT_EQ(rules(verify(std::span<ProgramSet const>())), "");
}

TEST(VerifyWorld, refuses_a_rank_that_is_missing_or_there_twice) {
  std::vector<ProgramSet> sets{make(0, 2, reducer)};
  expect_problem(verify(sets), "ranks", 0, -1, {"rank 0 of 2", "1 sets"});
  sets.push_back(make(0, 2, reducer));
  expect_problem(verify(sets), "ranks", 0, -1, {"rank 0 of 2", "2 sets"});
}

TEST(VerifyWorld, accepts_ranks_in_any_order) {
  std::vector<ProgramSet> const sets{make(1, 2, reducer), make(0, 2, reducer)};
  EXPECT_EQ(rules(verify(sets)), "");
}

TEST(VerifyWorld, checks_each_template_once_and_says_for_how_many_ranks) {
  auto bad = reducer;
  bad.steps[0] = "comm.dp all_reduce %0 -> %0 peer=1";
  auto const first = make(0, 2, bad);
  std::vector<ProgramSet> sets{first, first};
  sets[1].binding.rank = 1;
  expect_problem(verify(sets), "operand", 0, 0, {"rank 0 (and 1 rank with the same template)", "step 0"});
  expect_problem(verify(std::vector{first, make(1, 2, bad)}), "operand", 0, 0, {"and 1 rank"});
}

TEST(VerifyWorld, refuses_group_tables_that_disagree) {
  auto other = reducer;
  other.members = {"1,0"};
  auto problems = verify_world({reducer, other});
  ASSERT_FALSE(problems.empty());
  EXPECT_EQ(problems[0].rule, "group_table");
  EXPECT_THAT(problems[0].message, AllOf(HasSubstr("rank 0"), HasSubstr("rank 1 lists the ranks 1, 0")));
  other = reducer;
  other.groups = {"dp shm"};
  problems = verify_world({reducer, other});
  ASSERT_FALSE(problems.empty());
  EXPECT_THAT(problems[0].message, AllOf(HasSubstr("rank 0"), HasSubstr("on rank 1 "), HasSubstr("shm")));
  problems = verify_world({reducer, {{}, {}, {}}});
  expect_problem(problems, "group_table", 0, -1, {"rank 0", "rank 1 has no group", "'dp'"});
  problems = verify_world({{{}, {}, {}}, reducer});
  expect_problem(problems, "group_table", 1, -1, {"rank 1", "rank 0 has no group", "'dp'"});
}

class Collective : public ::testing::TestWithParam<std::pair<char const*, char const*>> {};

TEST_P(Collective, that_differs_is_refused_with_both_steps) {
  Rank const a{{"0-1"}, {"dp mpi"}, {"comm.dp barrier ->", "comm.dp all_reduce %0 -> %0"}};
  Rank b{{"0-1"}, {"dp mpi"}, {"compute gelu ->", "comm.dp barrier ->"}};
  if (*GetParam().first) b.steps.emplace_back(GetParam().first);
  expect_problem(
      verify_world({a, b}), "collective", 0, 1,
      {"'dp'", "ranks 0, 1", "rank 0 has step 1 (all_reduce", "sum f32 x 8", "rank 1 has", GetParam().second});
  bool const has_step = *GetParam().first != 0;
  EXPECT_EQ(rules(verify_world({a, b})).find("rank 1 has step 2 (") != std::string::npos, has_step);
}

INSTANTIATE_TEST_SUITE_P(rules, Collective,
                         ::testing::Values(std::pair("", "no more after 1"), std::pair("comm.dp barrier ->", "barrier"),
                                           std::pair("comm.dp all_reduce %2 -> %2", "f32 x 4"),
                                           std::pair("comm.dp all_reduce %0 %1 -> %0 %1", "f32 x 8, 8"),
                                           std::pair("comm.dp all_reduce %0 -> %0 .reduce=\"max\"", "max f32 x 8"),
                                           std::pair("comm.dp reduce_scatter %0 -> %0", "reduce_scatter sum f32 x 8"),
                                           std::pair("comm.dp broadcast %0 -> %0 peer=0",
                                                     "broadcast f32 x 8 from member 0")));

TEST(VerifyWorld, compares_roots_and_row_ranges) {
  Rank a{{"0-1"}, {"dp mpi"}, {"comm.dp broadcast %0 -> %0 peer=0"}}, b = a;
  b.steps = {"comm.dp broadcast -> %0 peer=0"};
  EXPECT_EQ(rules(verify_world({a, b})), "");
  b.steps = {"comm.dp broadcast %0 -> %0 peer=1"};
  expect_problem(verify_world({a, b}), "collective", 0, 0, {"from member 0", "from member 1"});
  a.steps = {"comm.dp all_gather %2 -> %0"}, b.steps = {"comm.dp all_gather %0 -> %0"};
  EXPECT_EQ(rules(verify_world({a, b})), "");
  b.steps = {"comm.dp all_gather %0 -> %0 .rows=\"0,2,8\""};
  expect_problem(verify_world({a, b}), "collective", 0, 0, {"rows 0,2,8"});
}

// Equal in shape, so that only the names tell that they are crossed.
TEST(VerifyWorld, refuses_crossed_collectives_and_messages_of_equal_shapes) {
  Rank a{{"0-1"}, {"dp mpi"}, {"comm.dp all_reduce %0 -> %0", "comm.dp all_reduce %1 -> %1"}}, b = a;
  std::swap(b.steps[0], b.steps[1]);
  expect_problem(verify_world({a, b}), "collective", 0, 0, {"gradient 'a'", "gradient 'b'"});
  a = {{"0-1"}, {"pp mpi"}, {"comm.pp send %0 -> peer=1", "comm.pp send %1 -> peer=1"}};
  b = {{"0-1"}, {"pp mpi"}, {"comm.pp recv -> %0 peer=0", "comm.pp recv -> %1 peer=0"}};
  EXPECT_EQ(rules(verify_world({a, b})), "");
  std::swap(b.steps[0], b.steps[1]);
  expect_problem(verify_world({a, b}), "message", 0, 0, {"gradient 'a'", "gradient 'b'"});
}

TEST(VerifyWorld, compares_what_rows_are) {
  Rank const a{{"0-1"}, {"dp mpi"}, {"comm.dp all_gather %0 -> %0"}};
  auto b = a;
  b.steps = {"comm.dp all_gather %0 -> %0 .dim=0 .flat=0"};
  EXPECT_EQ(rules(verify_world({a, b})), "");
  b.steps = {"comm.dp all_gather %0 -> %0 .flat=1"};
  expect_problem(verify_world({a, b}), "collective", 0, 0, {"all_gather f32 x 8 flat of gradient 'a'"});
}

Rank const sender{{"0-1", "0-1"},
                  {"p.0>1 mpi", "p.1>0 mpi"},
                  {"comm.p.0>1 send %0 -> peer=1", "comm.p.1>0 recv -> %1 peer=1 after=0"}};
Rank const receiver{{"0-1", "0-1"},
                    {"p.0>1 mpi", "p.1>0 mpi"},
                    {"comm.p.0>1 recv -> %0 peer=0", "comm.p.1>0 send %1 -> peer=0 after=0"}};

TEST(VerifyWorld, matches_messages) {
  EXPECT_EQ(rules(verify_world({sender, receiver})), "");
  auto changed = receiver;
  changed.steps[0] = "comm.p.0>1 recv -> %2 peer=0";
  expect_problem(
      verify_world({sender, changed}), "message", 0, 0,
      {"from rank 0 to rank 1", "'p.0>1'", "rank 0 has step 0 (send", "f32 x 8", "rank 1 has step 0 (recv", "f32 x 4"});
  changed = sender;
  changed.steps.push_back("comm.p.0>1 send %2 -> peer=1 after=1");
  expect_problem(verify_world({changed, receiver}), "message", 0, 2, {"message 1", "rank 1 has no more after 1"});
  changed = receiver;
  changed.steps.push_back("comm.p.0>1 recv -> %2 peer=0 after=1");
  expect_problem(verify_world({sender, changed}), "message", 1, 2, {"message 1", "rank 0 has no more after 1"});
}

TEST(VerifyWorld, matches_messages_inside_a_larger_group) {
  auto const rank = [](std::vector<std::string> steps) { return Rank{{"0-2"}, {"ring mpi"}, std::move(steps)}; };
  Rank const first = rank({"comm.ring send %0 -> peer=1", "comm.ring recv -> %0 peer=2"});
  Rank const second = rank({"comm.ring recv -> %0 peer=0", "comm.ring send %0 -> peer=2"});
  Rank const third = rank({"comm.ring recv -> %0 peer=1", "comm.ring send %0 -> peer=0"});
  EXPECT_EQ(rules(verify_world({first, second, third})), "");
  Rank const all_send_first = rank({"comm.ring send %0 -> peer=1", "comm.ring recv -> %0 peer=2"});
  Rank const second_too = rank({"comm.ring send %0 -> peer=2", "comm.ring recv -> %0 peer=0"});
  Rank const third_too = rank({"comm.ring send %0 -> peer=0", "comm.ring recv -> %0 peer=1"});
  expect_problem(verify_world({all_send_first, second_too, third_too}), "deadlock", 0, 0,
                 {"rank 0 waits in step 0 (send, stream comm.ring) for rank 1",
                  "rank 1 waits in step 0 (send, stream comm.ring) for rank 2",
                  "rank 2 waits in step 0 (send, stream comm.ring) for rank 0"});
}

TEST(VerifyWorld, finds_two_ranks_that_both_receive_first) {
  auto a = sender, b = receiver;
  a.steps = {"comm.p.1>0 recv -> %1 peer=1", "compute gelu %1 -> %0 after=0", "comm.p.0>1 send %0 -> peer=1 after=1"};
  b.steps = {"comm.p.0>1 recv -> %0 peer=0", "comm.p.1>0 send %1 -> peer=0 after=0"};
  expect_problem(
      verify_world({a, b}), "deadlock", 0, 0,
      {"rank 0 waits in step 0 (recv, stream comm.p.1>0) for rank 1",
       "rank 1 cannot start step 1 (send, stream comm.p.1>0) before its own step 0 (recv, stream comm.p.0>1)",
       "rank 1 waits in step 0 (recv, stream comm.p.0>1) for rank 0",
       "rank 0 cannot start step 2 (send, stream comm.p.0>1) before its own step 0 (recv"});
}

TEST(VerifyWorld, finds_collectives_of_two_groups_that_wait_crosswise) {
  Rank a{{"0-1", "0-1"}, {"dp mpi", "tp mpi"}, {"comm.dp barrier ->", "comm.tp barrier -> after=0"}}, b = a;
  b.steps = {"comm.tp barrier ->", "comm.dp barrier -> after=0"};
  expect_problem(verify_world({a, b}), "deadlock", 0, 0,
                 {"rank 0 waits in step 0 (barrier, stream comm.dp) for rank 1", "rank 1 cannot start step 1",
                  "rank 1 waits in step 0 (barrier, stream comm.tp) for rank 0", "rank 0 cannot start step 1"});
}

TEST(VerifyWorld, lets_mpi_collectives_of_two_groups_cross_but_not_nccl) {
  Rank a{{"0-1", "0-1"}, {"dp mpi", "tp mpi"}, {"comm.dp barrier ->", "comm.tp barrier ->"}}, b = a;
  std::swap(b.steps[0], b.steps[1]);
  EXPECT_EQ(rules(verify_world({a, b})), "");
  a.groups = b.groups = {"dp nccl", "tp mpi"};
  EXPECT_EQ(rules(verify_world({a, b})), "");
  a.groups = b.groups = {"dp nccl", "tp nccl"};
  expect_problem(verify_world({a, b}), "issue_order", 0, 0,
                 {"rank 0 has step 0 (barrier, stream comm.dp)", "rank 1 has step 0 (barrier, stream comm.tp)"});
}

TEST(VerifyWorld, a_single_stream_for_both_directions_deadlocks_where_one_per_direction_does_not) {
  // 1F1B with one forward of warm-up: stage 0 sends f0, then f1 and receives g0; stage 1 answers g0 before it takes f1.
  Rank const first{{"0-1"},
                   {"pp mpi"},
                   {"comm.pp send %0 -> peer=1", "comm.pp send %0 -> peer=1", "comm.pp recv -> %1 peer=1",
                    "comm.pp recv -> %1 peer=1"}};
  Rank const last{{"0-1"},
                  {"pp mpi"},
                  {"comm.pp recv -> %0 peer=0", "comm.pp send %1 -> peer=0", "comm.pp recv -> %0 peer=0",
                   "comm.pp send %1 -> peer=0"}};
  expect_problem(verify_world({first, last}), "deadlock", 0, 1,
                 {"rank 0 waits in step 1 (send", "rank 1 waits in step 1 (send"});
  auto two = [](Rank const& r, char const* own, char const* other) {
    Rank out{{"0-1", "0-1"}, {"p.0>1 mpi", "p.1>0 mpi"}, {}};
    for (auto s : r.steps) {
      bool const sends = s.find("send") != s.npos;
      out.steps.push_back(s.replace(0, 7, text("comm.p.", sends ? own : other)));
    }
    return out;
  };
  EXPECT_EQ(rules(verify_world({two(first, "0>1", "1>0"), two(last, "1>0", "0>1")})), "");
}

TEST(VerifyWorld, plays_each_program_by_its_name) {
  auto const rank = [](int r, std::string const& name) { return make(r, 2, reducer, name); };
  EXPECT_EQ(rules(verify(std::vector{rank(0, "update"), rank(1, "update")})), "");
  auto const problems = verify(std::vector{rank(0, "update"), rank(1, "eval")});
  ASSERT_EQ(problems.size(), 2u) << rules(problems);
  EXPECT_EQ(problems[0].program, "update");
  EXPECT_EQ(problems[1].program, "eval");
  EXPECT_THAT(problems[0].message, HasSubstr("rank 1 has no more after 0"));
}

}  // namespace
}  // namespace lamina::program
