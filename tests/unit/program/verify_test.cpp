// One rank: every rule, as a sound program with one thing changed. The programs are written in the text form.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/base/text.hpp"
#include "lamina/program/program.hpp"

namespace lamina::program {
namespace {

// w is half of a global tensor. x (bytes 384-511) dies in step 3, so y2 may take its place; s is scratch.
constexpr char const* sound_program = R"(lamina-program 1
rank 1 of 4
axes dp
coordinates 1
members 0 0-3
members 1 1-2
slabs 9
slab 0 [4,0] [3,8]
slab 0 [0,0] [1,8]
arena host=1024 shared=0 pinned=0 device=64
group 0 dp mpi axis=dp
group 1 pp.1>2 mpi axis=pp
buffer 0 w parameter f32[4,8] host 0+128 global=[8,8]
buffer 1 dw gradient f32[4,8] host 128+128 global=[4,8]
buffer 2 in input f32[4,8] host 256+128
buffer 3 x activation f32[4,8] host 384+128 program=0
buffer 4 y activation f32[4,8] host 512+128 program=0
buffer 5 y2 activation f32[4,8] host 384+128 program=0
buffer 6 s scratch u8[64] host 640+64 program=0
buffer 7 part message f32[1,8] host 704+64 program=0
buffer 8 z activation f32[4,8] host 384+128 program=1
program 0 forward_backward
stream 0 compute
stream 1 comm.dp group=dp
stream 2 comm.pp.1>2 group=pp.1>2
stream 3 copy
step 0 compute gelu %2 -> %3 layer=blocks.0.mlp mb=0
step 1 comm.pp.1>2 send %3 -> peer=1 after=0
step 2 compute linear %3 %0 -> %4 %6 mb=0
step 3 copy copy %4 -> %5 after=1,2
step 4 compute linear_grad_weight %4 %2 -> %1
step 5 compute linear_grad_weight %4 %2 -> %1 .accumulate=1
step 6 comm.dp all_reduce %1 -> %1 after=5 .reduce="sum"
step 7 comm.dp reduce_scatter %1 -> %7
step 8 comm.dp all_gather %7 -> %4 after=3 .rows="0,1,2,3,4"
step 9 comm.dp broadcast %0 -> %0 peer=2 after=2
step 10 comm.dp barrier ->
step 11 compute gelu %5 -> %5 after=3,9
program 1 eval
stream 0 compute
step 0 compute gelu %2 -> %8
)";

std::string describe(std::vector<Problem> const& problems) {
  std::string out;
  for (auto const& p : problems) out += text("[", p.rule, "] step ", p.step, ": ", p.message, "\n");
  return out;
}

TEST(VerifyOneRank, accepts_a_sound_program) {
  auto const problems = verify(parse(sound_program));
  EXPECT_TRUE(problems.empty()) << describe(problems);
}

TEST(VerifyOneRank, accepts_nothing_to_do) {
  EXPECT_TRUE(verify(ProgramSet{std::make_shared<Template const>(), {}}).empty());
}

struct Change {  // every occurrence of `from` becomes `to`
  char const *name, *from, *to, *rule;
  int step;
  std::vector<std::string> words;  // the message has all of them
};

std::ostream& operator<<(std::ostream& out, Change const& c) { return out << c.name; }

class VerifyRule : public ::testing::TestWithParam<Change> {};

TEST_P(VerifyRule, is_reported_with_steps_and_buffers) {
  auto const& c = GetParam();
  std::string changed = sound_program;
  std::string_view const from = c.from, to = c.to;
  ASSERT_NE(changed.find(from), changed.npos) << from;
  for (auto at = changed.find(from); at != changed.npos; at = changed.find(from, at + to.size())) {
    changed.replace(at, from.size(), to);
  }
  auto const problems = verify(parse(changed));
  ASSERT_FALSE(problems.empty());
  auto const& p = problems.front();
  EXPECT_EQ(p.rule, c.rule) << describe(problems);
  EXPECT_EQ(p.step, c.step) << describe(problems);
  EXPECT_EQ(p.rank, 1);
  EXPECT_TRUE(p.message.starts_with("rank 1: ")) << p.message;
  for (auto const& word : c.words) EXPECT_THAT(p.message, ::testing::HasSubstr(word));
  if (p.step >= 0) {
    EXPECT_THAT(p.message, ::testing::HasSubstr(text("step ", p.step, " (")));
    EXPECT_EQ(p.program, "forward_backward");
  }
}

INSTANTIATE_TEST_SUITE_P(
    tables, VerifyRule,
    ::testing::Values(
        Change{"arena", "host=1024", "host=767", "arena", -1, {"%7 'part'", "704", "767"}},
        Change{"arena_end", "host 704+64", "host 9223372036854775744+64", "arena", -1, {"%7 'part'"}},
        Change{"arenas", " device=64", "", "arena", -1, {"3 arenas"}},
        Change{"alignment", "host 640+64", "host 641+63", "bytes", -1, {"%6 's'", "63", "u8[64]"}},
        Change{"alignment_offset", "host 640+64", "host 632+64", "alignment", -1, {"%6 's'", "632"}},
        Change{"bytes", "f32[4,8] host 256+128", "f32[5,8] host 256+128", "bytes", -1, {"%2 'in'", "128", "160"}},
        Change{"bytes_overflow",
               "f32[4,8] host 256+128",
               "f32[4611686018427387904,8] host 256+128",
               "bytes",
               -1,
               {"%2 'in'", "2^62"}},
        Change{"id_program", "384+128 program=1", "384+128 program=2", "id", -1, {"%8 'z'", "program 2"}},
        Change{"lifetime", "host 256+128", "host 256+128 program=0", "lifetime", -1, {"%2 'in'", "input"}},
        Change{"lifetime_transient", "host 704+64 program=0", "host 704+64", "lifetime", -1, {"%7 'part'", "message"}},
        Change{"name_buffer", "buffer 1 dw gradient", "buffer 1 w parameter", "name", -1, {"%0 'w'", "%1 'w'"}},
        Change{"name_group", "pp.1>2", "dp", "name", -1, {"'dp'"}},
        Change{"name_program", "program 1 eval", "program 1 forward_backward", "name", -1, {"forward_backward"}},
        Change{"name_stream", "stream 3 copy\n", "stream 3 copy\nstream 4 copy\n", "name", -1, {"'copy'"}},
        Change{"stream_zero", " compute", " main", "stream", -1, {"compute"}},
        Change{"stream_name", "stream 3 copy\n", "stream 3 copy\nstream 4 dma\n", "stream", -1, {"'dma'"}},
        Change{"stream_group", "comm.dp group=dp", "comm.dp group=#7", "id", -1, {"'comm.dp'", "7"}},
        Change{"stream_other_group", "comm.dp group=dp", "comm.dp group=pp.1>2", "stream", -1, {"'comm.dp'"}}),
    [](auto const& p) { return std::string(p.param.name); });

INSTANTIATE_TEST_SUITE_P(
    steps, VerifyRule,
    ::testing::Values(
        Change{"id_buffer",
               "gelu %2 -> %3",
               "gelu %9 -> %3",
               "id",
               0,
               {"%9", "gelu blocks.0.mlp, stream compute, micro-batch 0"}},
        Change{"id_after", "peer=1 after=0", "peer=1 after=12", "id", 1, {"step 12"}},
        Change{"id_stream", "step 10 comm.dp", "step 10 #8", "id", 10, {"stream 8"}},
        Change{"id_group", "step 10 comm.dp barrier ->", "step 10 comm.dp barrier -> group=#5", "id", 10, {"group 5"}},
        Change{"after_later", "peer=1 after=0", "peer=1 after=2", "after", 1, {"step 2 ("}},
        Change{"after_itself", "peer=1 after=0", "peer=1 after=1", "after", 1, {"step 1 ("}},
        Change{"foreign", "gelu %2 -> %3", "gelu %8 -> %3", "foreign_buffer", 0, {"%8 'z'", "'eval'"}},
        Change{"kernel_on_comm", "step 10 comm.dp barrier ->", "step 10 comm.dp gelu ->", "stream", 10, {"comm.dp"}},
        Change{"copy_on_comm",
               "step 10 comm.dp barrier ->",
               "step 10 comm.dp copy %2 -> %5",
               "stream",
               10,
               {"comm.dp", "copy"}},
        Change{"comm_on_compute", "step 10 comm.dp", "step 10 compute", "stream", 10, {"compute"}},
        Change{"comm_on_other",
               "step 10 comm.dp barrier ->",
               "step 10 comm.pp.1>2 barrier -> group=dp",
               "stream",
               10,
               {"'dp'", "comm.pp.1>2"}},
        Change{"kernel_group", "mb=0\nstep 1", "group=dp\nstep 1", "operand", 0, {"group"}},
        Change{"send_two", "send %3 ->", "send %3 %2 ->", "operand", 1, {"reads 2"}},
        Change{"send_none", "send %3 ->", "send ->", "operand", 1, {"reads 0"}},
        Change{"send_writes", "send %3 ->", "recv %3 ->", "operand", 1, {"recv"}},
        Change{"send_no_peer", "peer=1 after=0", "after=0", "operand", 1, {"peer"}},
        Change{"reduce_peer", "all_reduce %1 -> %1", "all_reduce %1 -> %1 peer=0", "operand", 6, {"peer"}},
        Change{"reduce_not_in_place", "all_reduce %1 -> %1", "all_reduce %1 -> %0", "operand", 6, {"same buffers"}},
        Change{"reduce_nothing", "all_reduce %1 -> %1", "all_reduce ->", "operand", 6, {"at least one"}},
        Change{"reduce_word", ".reduce=\"sum\"", ".reduce=\"mean\"", "operand", 6, {"reduce"}},
        Change{"reduce_type", ".reduce=\"sum\"", ".reduce=1", "operand", 6, {"reduce"}},
        Change{"writes_twice", "%0 -> %4 %6 mb=0", "%0 -> %4 %4 mb=0", "operand", 2, {"twice"}},
        Change{"accumulate_mask", ".accumulate=1", ".accumulate=2", "operand", 5, {"accumulate"}},
        Change{"accumulate_type", ".accumulate=1", ".accumulate=1.0", "operand", 5, {"accumulate"}},
        Change{"copy_shapes", "copy %4 -> %5", "copy %6 -> %5", "operand", 3, {"u8[64]", "f32[4, 8]"}},
        Change{"copy_in_place", "copy %4 -> %5", "copy %5 -> %5", "operand", 3, {"in place"}},
        Change{"copy_unpaired", "copy %4 -> %5", "copy %4 %3 -> %5", "operand", 3, {"pairs"}},
        Change{"broadcast_other", "broadcast %0 -> %0", "broadcast %1 -> %0", "operand", 9, {"same ones"}},
        Change{"barrier_operand", "barrier ->", "barrier %1 ->", "operand", 10, {"reads 1"}},
        Change{"mixed_dtypes", "all_reduce %1 -> %1", "all_reduce %1 %6 -> %1 %6", "operand", 6, {"u8", "f32"}},
        Change{"kernel_no_op", "compute gelu %2 -> %3", "compute \"\" %2 -> %3", "operand", 0, {"operator"}},
        Change{"copy_op", "copy %4 -> %5", "copy %4 -> %5 op=gelu", "operand", 3, {"gelu"}},
        Change{"rows_text", "\"0,1,2,3,4\"", "\"0,2,1,3,4\"", "rows", 8, {"rows"}},
        Change{"rows_dim", ".rows=\"0,1,2,3,4\"", ".dim=2", "rows", 8, {"dim 2", "%4 'y'"}},
        Change{"rows_dim_type", ".rows=\"0,1,2,3,4\"", ".dim=\"1\"", "rows", 8, {"dim", "flat"}},
        Change{"rows_flat_and_dim", ".rows=\"0,1,2,3,4\"", ".dim=1 .flat=1", "rows", 8, {"dim", "flat"}},
        Change{"rows_flat_value", ".rows=\"0,1,2,3,4\"", ".flat=2", "rows", 8, {"dim", "flat"}},
        Change{"rows_dim_in_place",
               "all_gather %7 -> %4 after=3 .rows=\"0,1,2,3,4\"",
               "all_gather %4 -> %4 after=3 .dim=1",
               "rows",
               8,
               {"in place", "%4 'y'"}},
        Change{"rows_lists", "\"0,1,2,3,4\"", "\"0,1,2,3,4;0,1,2,3,4\"", "rows", 8, {"rows"}}),
    [](auto const& p) { return std::string(p.param.name); });

INSTANTIATE_TEST_SUITE_P(
    order, VerifyRule,
    ::testing::Values(
        Change{"read_before_write", "gelu %2 -> %3", "gelu %4 -> %3", "read_before_write", 0, {"%4 'y'"}},
        Change{
            "scratch_read_first", "linear %3 %0 -> %4 %6", "linear %3 %6 -> %4 %6", "read_before_write", 2, {"%6 's'"}},
        Change{"accumulate_into_nothing",
               "%0 -> %4 %6 mb=0",
               "%0 -> %4 %6 mb=0 .accumulate=1",
               "read_before_write",
               2,
               {"%4 'y'"}},
        Change{"unordered_read", "-> peer=1 after=0", "-> peer=1", "unordered_read", 1, {"%3 'x'", "step 0 (gelu"}},
        Change{"unordered_read_of_persistent",
               "all_reduce %1 -> %1 after=5",
               "all_reduce %1 -> %1 after=4",
               "unordered_read",
               6,
               {"%1 'dw'", "step 5 ("}},
        Change{"unordered_write",
               "after=3 .rows",
               ".rows",
               "unordered_write",
               8,
               {"%4 'y'", "step 3 (copy, stream copy)", "reads"}},
        Change{"unordered_write_of_persistent",
               "%5 -> %5 after=3,9",
               "%5 -> %0 after=3",
               "unordered_write",
               11,
               {"%0 'w'", "step 9 (broadcast", "writes"}},
        Change{"overlap_in_time",
               "after=1,2",
               "after=2",
               "overlap",
               3,
               {"%5 'y2'", "%3 'x'", "step 1 (send", "[384, 512)"}},
        Change{"overlap_in_a_step", "640+64 program=0", "512+64 program=0", "overlap", 2, {"%6 's'", "%4 'y'"}},
        Change{"overlap_persistent",
               "buffer 2 in input f32[4,8] host 256+128",
               "buffer 2 in input f32[4,8] host 192+128",
               "overlap",
               -1,
               {"%1 'dw'", "%2 'in'"}},
        Change{"overlap_persistent_transient", "host 704+64", "host 320+64", "overlap", -1, {"%2 'in'", "%7 'part'"}}),
    [](auto const& p) { return std::string(p.param.name); });

INSTANTIATE_TEST_SUITE_P(
    binding, VerifyRule,
    ::testing::Values(
        Change{"rank", "rank 1 of 4", "rank 1 of 1", "binding", -1, {"rank 1 of 1"}},
        Change{"coordinates", "coordinates 1", "coordinates 1 0", "binding", -1, {"2 coordinates"}},
        Change{"no_members", "members 1 1-2\n", "", "binding", -1, {"1 member lists", "2 groups"}},
        Change{"not_a_member", "members 1 1-2", "members 1 2-3", "members", -1, {"'pp.1>2'", "rank 1"}},
        Change{"member_twice", "members 0 0-3", "members 0 0,1,2,2", "members", -1, {"'dp'"}},
        Change{"member_beyond", "members 0 0-3", "members 0 0,1,2,4", "members", -1, {"'dp'", "4"}},
        Change{"peer_beyond", "peer=1 after=0", "peer=2 after=0", "peer", 1, {"member 2", "'pp.1>2'"}},
        Change{"peer_self", "peer=1 after=0", "peer=0 after=0", "peer", 1, {"own rank"}},
        Change{"root_beyond", "peer=2 after=2", "peer=4 after=2", "peer", 9, {"member 4"}},
        Change{"root_with_nothing", "broadcast %0 -> %0 peer=2", "broadcast -> %0 peer=1", "peer", 9, {"root"}},
        Change{"rows_members", "\"0,1,2,3,4\"", "\"0,1,4\"", "rows", 8, {"4 members"}},
        Change{"rows_own", "\"0,1,2,3,4\"", "\"0,1,3,3,4\"", "rows", 8, {"member 1 of 4 has 2"}},
        Change{"rows_total", "\"0,1,2,3,4\"", "\"0,1,2,3,5\"", "rows", 8, {"5", "4 rows"}},
        Change{"rows_of_dim_1",
               ".rows=\"0,1,2,3,4\"",
               ".dim=1 .rows=\"0,2,4,6,8\"",
               "rows",
               8,
               {"member 1 of 4 has 2 rows", "%7 'part'"}},
        Change{"rows_unequal", "members 0 0-3", "members 0 0-2", "rows", 7, {"3 members"}},
        Change{"slab_too_much", "[0,0] [1,8]", "[0,0] [2,8]", "slab", -1, {"%0 'w'", "more elements than its 32"}},
        Change{"slab_lost", "slab 0 [0,0] [1,8]\n", "", "slab", -1, {"%0 'w'", "leave 8 of its elements unnamed"}},
        Change{"slab_empty", "[0,0] [1,8]", "[0,0] [0,8]", "slab", -1, {"%0 'w'", "leave 8"}},
        Change{"slab_short", "[0,0] [1,8]", "[0,0] [2,3]", "slab", -1, {"%0 'w'", "leave 2"}},
        Change{"slab_nothing",
               "slab 0 [4,0] [3,8]\nslab 0 [0,0] [1,8]",
               "slab 0 [0,0] [1,8]\nslab 0 [4,0] [4,0]",
               "slab",
               -1,
               {"leave 24"}},
        Change{"slab_none", "slab 0 [4,0] [3,8]\nslab 0 [0,0] [1,8]\n", "", "slab", -1, {"%0 'w'", "[8, 8]"}},
        Change{"slab_outside", "[4,0] [3,8]", "[6,0] [3,8]", "slab", -1, {"%0 'w'", "outside"}},
        Change{"slab_twice", "[0,0] [1,8]", "[6,0] [1,8]", "slab", -1, {"%0 'w'", "twice"}},
        Change{"slab_dims", "[4,0] [3,8]", "[4] [3]", "slab", -1, {"%0 'w'", "dims"}},
        Change{"slab_of_activation", "slab 0 [4,0]", "slab 3 [4,0]", "slab", -1, {}}),
    [](auto const& p) { return std::string(p.param.name); });

// The text form has no such shapes; a plan could.
TEST(VerifyOneRank, refuses_boxes_with_negative_numbers) {
  for (bool const offset : {true, false}) {
    auto set = parse(sound_program);
    auto& box = set.binding.slabs[0][0];
    (offset ? box.offset : box.extent)[0] = -1;
    auto const problems = verify(set);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].rule, "slab");
    EXPECT_THAT(problems[0].message, ::testing::HasSubstr("outside the global shape"));
  }
}

TEST(VerifyOneRank, accepts_changes_that_mean_nothing) {
  using Pair = std::pair<char const*, char const*>;
  for (auto const& [from, to] :
       {Pair{"after=1,2", "after=0,0,1,2"}, Pair{".reduce=\"sum\"", ".reduce=\"max\""}, Pair{" .reduce=\"sum\"", ""},
        Pair{"barrier ->", "barrier -> after=0,4"}, Pair{"broadcast %0 -> %0", "broadcast -> %0"},
        Pair{"all_gather %7 -> %4 after=3 .rows=\"0,1,2,3,4\"", "all_gather %4 -> %4 after=3 .rows=\"0,1,1,4,4\""},
        Pair{".rows=\"0,1,2,3,4\"", ".flat=1"}, Pair{".rows=\"0,1,2,3,4\"", ".dim=0 .flat=0"},
        Pair{".rows=\"0,1,2,3,4\"", ".flat=1 .rows=\"0,1,1,3,4\""},            // the part may be longer than its rows
        Pair{"slab 0 [4,0] [3,8]\nslab 0 [0,0] [1,8]", "slab 0 [5,0] [3,8]"},  // the rest is padding
        Pair{"slab 0 [4,0] [3,8]\nslab 0 [0,0] [1,8]", "slab 0 [8,0] [0,8]"},
        Pair{"reduce_scatter %1 -> %7", "all_to_all %1 -> %4 after=3"}, Pair{"step 3 copy copy", "step 3 compute copy"},
        Pair{"host 704+64 program=0", "host 768+256 program=0"},
        Pair{"host 704+64 program=0", "device 0+64 program=0"}}) {
    std::string changed = sound_program;
    auto const at = changed.find(from);
    ASSERT_NE(at, changed.npos) << from;
    changed.replace(at, std::string_view(from).size(), to);
    // all_to_all in place of reduce_scatter leaves 'part' unwritten: let it be gathered from y itself.
    if (auto const gather = changed.find("all_gather %7"); changed.find("all_to_all") != changed.npos) {
      changed.replace(gather, std::string_view("all_gather %7").size(), "all_gather %4");
    }
    auto const problems = verify(parse(changed));
    EXPECT_TRUE(problems.empty()) << to << "\n" << describe(problems);
  }
}

TEST(VerifyOneRank, remembers_who_had_the_bytes_beside_a_smaller_buffer) {
  // a has [0, 192); b takes [64, 128) of it in good order; c wants a rest of a on another stream and does not wait.
  for (int const offset : {0, 128}) {
    for (bool const waits : {false, true}) {
      auto const problems = verify(parse(text(R"(lamina-program 1
rank 0 of 1
arena host=192 shared=0 pinned=0 device=64
buffer 0 w input u8[64] device 0+64
buffer 1 a activation u8[192] host 0+192 program=0
buffer 2 b activation u8[64] host 64+64 program=0
buffer 3 c activation u8[64] host )",
                                              offset, R"(+64 program=0
program 0 eval
stream 0 compute
stream 1 copy
step 0 compute gelu -> %1
step 1 compute gelu -> %2
step 2 copy copy %0 -> %3)",
                                              waits ? " after=0\n" : "\n")));
      std::vector<std::string> found;
      for (auto const& p : problems) found.push_back(text(p.rule, " ", p.step));
      EXPECT_EQ(found, waits ? std::vector<std::string>{} : std::vector<std::string>{"overlap 2"})
          << describe(problems);
    }
  }
}

TEST(VerifyOneRank, reports_every_problem_at_once) {
  std::string changed = sound_program;
  for (auto const& [from, to] : {std::pair{" after=5", ""}, std::pair{"gelu %2 -> %3", "gelu %4 -> %3"}}) {
    changed.replace(changed.find(from), std::string_view(from).size(), to);
  }
  std::vector<std::pair<int, std::string>> found;
  for (auto const& p : verify(parse(changed))) found.emplace_back(p.step, p.rule);
  EXPECT_THAT(found, ::testing::UnorderedElementsAre(std::pair(0, "read_before_write"), std::pair(6, "unordered_read"),
                                                     std::pair(7, "unordered_read"), std::pair(8, "unordered_write")));
}

}  // namespace
}  // namespace lamina::program
