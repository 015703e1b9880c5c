#include "lamina/base/text.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "lamina/base/error.hpp"
#include "lamina/base/philox.hpp"
#include "lamina/program/program.hpp"

namespace lamina::program {
namespace {

ProgramSet small_set() {
  Template t;
  t.arena_bytes = {1024, 0, 0, 0};
  t.groups = {{"control", "", Transport::mpi}, {"pp.0>1", "pp", Transport::nccl}};
  t.buffers = {
      {.name = "w", .role = Role::parameter, .spec = {DType::f32, {2, 3}}, .global_shape = {4, 3}, .bytes = 64},
      {.name = "x", .spec = {DType::bf16, {}}, .global_shape = {}, .offset = 64, .bytes = 64, .program = 0}};
  Program p;
  p.name = "forward_backward";
  p.streams = {{"compute"}, {"comm.control", 0}};
  p.steps.push_back({.op = "linear",
                     .attributes = {{"eps", 1e-5}, {"n", std::int64_t{3}}, {"dtype", std::string("bf16")}},
                     .in = {0},
                     .out = {1},
                     .micro_batch = 2,
                     .layer = "blocks.0.attn",
                     .bytes = 100,
                     .flops = 200,
                     .after = {}});
  p.steps.push_back({.stream = 1, .kind = StepKind::all_reduce, .in = {0}, .out = {0}, .group = 0, .after = {0}});
  t.programs = {p};
  Binding b{.rank = 1,
            .world = 4,
            .axes = {"pp", "dp"},
            .coordinates = {0, 1},
            .members = {{0, 1, 2, 3}, {1, 3}},
            .slabs = {{{{2, 0}, {2, 3}}}, {}}};
  return {std::make_shared<Template const>(std::move(t)), b};
}

TEST(ProgramText, is_one_line_per_item) {
  EXPECT_EQ(print(small_set()), R"(lamina-program 1
rank 1 of 4
axes pp dp
coordinates 0 1
members 0 0-3
members 1 1,3
slabs 2
slab 0 [2,0] [2,3]
arena host=1024 shared=0 pinned=0 device=0
group 0 control mpi
group 1 pp.0>1 nccl axis=pp
buffer 0 w parameter f32[2,3] host 0+64 global=[4,3]
buffer 1 x activation bf16[] host 64+64 program=0
program 0 forward_backward
stream 0 compute
stream 1 comm.control group=control
step 0 compute linear %0 -> %1 layer=blocks.0.attn mb=2 bytes=100 flops=200 .dtype="bf16" .eps=1e-05 .n=3
step 1 comm.control all_reduce %0 -> %0 after=0
)");
}

TEST(ProgramText, reads_back_exactly) {
  auto const set = small_set();
  EXPECT_TRUE(parse(print(set)) == set);
  EXPECT_EQ(hash(parse(print(set))), hash(set));
}

TEST(ProgramText, accepts_comments_blank_lines_and_windows_line_ends) {
  auto const set = small_set();
  std::string loose = "# a program\r\n\r\n";
  for (auto const& line : split(print(set), '\n')) loose += "  " + line + "  \r\n\n# note\n";
  EXPECT_TRUE(parse(loose) == set);
}

TEST(ProgramText, an_empty_set_reads_back) {
  ProgramSet const set{std::make_shared<Template const>(), {}};
  EXPECT_TRUE(parse(print(set)) == set);
}

/// Everything a set may hold, sensible or not: odd names, ids out of range, extreme numbers.
class Odd {
 public:
  explicit Odd(std::uint64_t seed) : seed_(seed) {}

  ProgramSet set() {
    Template t;
    t.arena_bytes.assign(below(6), 0);
    for (auto& a : t.arena_bytes) a = integer();
    for (auto n = below(3); n > 0; --n) t.groups.push_back({name(), name(), static_cast<Transport>(below(3))});
    for (auto n = below(4); n > 0; --n) {
      t.buffers.push_back({name(), static_cast<Role>(below(11)), TensorSpec{static_cast<DType>(below(8)), shape()},
                           shape(), static_cast<Space>(below(4)), integer(), integer(), id()});
    }
    for (auto n = below(3); n > 0; --n) t.programs.push_back(program());
    Binding b;
    b.rank = id(), b.world = id();
    for (auto n = below(3); n > 0; --n) b.axes.push_back(name());
    b.coordinates = ids();
    for (auto n = below(4); n > 0; --n) b.members.push_back(ids());
    b.slabs.resize(below(4));
    for (auto& list : b.slabs) {
      for (auto n = below(3); n > 0; --n) list.push_back({shape(), shape()});
    }
    return {std::make_shared<Template const>(std::move(t)), std::move(b)};
  }
  std::uint32_t below(std::uint32_t n) { return Philox::word(seed_, counter_++, 0, 1) % n; }

 private:
  std::int64_t integer() {
    constexpr std::int64_t special[] = {
        0, 1, -1, 64, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()};
    return special[below(6)];
  }
  int id() {
    constexpr int special[] = {-1, 0, 1, 2, 7, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()};
    return special[below(7)];
  }
  std::vector<int> ids() {
    std::vector<int> out;
    if (below(2) == 0) {
      for (auto n = below(5); n > 0; --n) out.push_back(id());
    } else {
      int const first = static_cast<int>(below(5)), stride = 1 + static_cast<int>(below(3));
      for (auto n = below(12); n > 0; --n) out.push_back(first + stride * static_cast<int>(out.size()));
    }
    return out;
  }
  std::string name() {
    char const* const special[] = {"dp",    "",     "a b",     "\"",   "\\",       "x=y",  "#3",
                                   "%1",    "->",   "send",    ".eps", "é\n\t",    "a,b",  "kernel",
                                   "[2,3]", "a\"b", "compute", "-1",   "\x01\x7f", "after"};
    return special[below(20)];
  }
  Shape shape() {
    Shape s;
    for (auto n = below(7); n > 0; --n) s.push_back(below(3) == 0 ? std::int64_t{1} << 40 : below(4));
    return s;
  }
  Attribute value() {
    constexpr double special[] = {0.0, -0.0, 1.0, 1e-300, 0.1, 1e22, std::numeric_limits<double>::infinity(), -2.5e-8};
    if (below(3) == 0) return integer();
    if (below(2) == 0) return special[below(8)];
    return name();
  }
  Program program() {
    Program p;
    p.name = name();
    for (auto n = below(3); n > 0; --n) p.streams.push_back({name(), id()});
    for (auto n = below(6); n > 0; --n) {
      Step s{.stream = id(),
             .kind = static_cast<StepKind>(below(10)),
             .op = name(),
             .in = ids(),
             .out = ids(),
             .group = id(),
             .peer = id(),
             .micro_batch = id(),
             .stage = id(),
             .layer = name(),
             .bytes = integer(),
             .flops = integer(),
             .after = ids()};
      for (auto k = below(3); k > 0; --k) s.attributes.set(name(), value());
      p.steps.push_back(std::move(s));
    }
    return p;
  }

  std::uint64_t seed_, counter_ = 0;
};

TEST(ProgramText, reads_back_whatever_a_set_may_hold) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    auto const set = Odd(seed).set();
    auto const once = print(set);
    auto const again = parse(once);
    ASSERT_TRUE(again == set) << "seed " << seed << "\n" << once;
    verify(again);  // whatever it says, it says it
    ASSERT_EQ(print(again), once);
  }
}

TEST(ProgramText, damaged_text_is_refused_with_its_line_or_read_as_another_set) {
  int refused = 0;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    Odd random(seed);
    auto damaged = print(seed % 2 == 0 ? small_set() : random.set());
    for (auto n = 1 + random.below(3); n > 0; --n) {
      auto const at = random.below(static_cast<std::uint32_t>(damaged.size()));
      switch (random.below(4)) {
        case 0:
          damaged[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          damaged.erase(at, 1 + random.below(20));
          break;
        case 2:
          damaged.insert(at, std::string(1 + random.below(3), "9-\"%=# "[random.below(7)]));
          break;
        default:
          damaged.resize(at + 1);
          break;
      }
    }
    try {
      auto const set = parse(damaged);
      EXPECT_TRUE(parse(print(set)) == set) << damaged;
      verify(set);  // whatever it says, it says it
    } catch (Error const& e) {
      ++refused;
      EXPECT_TRUE(e.info().code.starts_with("program.parse.")) << e.what();
      EXPECT_TRUE(e.info().subject.starts_with("line ")) << e.what();
      EXPECT_EQ(e.exit_code(), ExitCode::bad_input);
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 2000);
}

struct Bad {
  char const *name, *code;
  int line;
  char const* text;
};

class ProgramTextError : public ::testing::TestWithParam<Bad> {};

TEST_P(ProgramTextError, names_the_rule_and_the_line) {
  try {
    parse(GetParam().text);
    ADD_FAILURE() << "accepted";
  } catch (Error const& e) {
    EXPECT_EQ(e.info().code, text("program.parse.", GetParam().code)) << e.what();
    EXPECT_TRUE(e.info().subject.starts_with(text("line ", GetParam().line, ":"))) << e.what();
  }
}

#define HEAD "lamina-program 1\nrank 0 of 1\narena host=0 shared=0 pinned=0 device=0\n"
INSTANTIATE_TEST_SUITE_P(
    rules, ProgramTextError,
    ::testing::Values(
        Bad{"nothing", "header", 1, ""}, Bad{"other_file", "header", 1, "\x89HDF\r\n"},
        Bad{"other_version", "header", 1, "lamina-program 2\n"}, Bad{"no_rank", "item", 2, "lamina-program 1\n"},
        Bad{"no_arena", "item", 3, "lamina-program 1\nrank 0 of 1\n"},
        Bad{"two_ranks", "item", 4, HEAD "rank 0 of 1\n"}, Bad{"item_unknown", "item", 4, HEAD "bufer 0 x\n"},
        Bad{"id_order", "order", 4, HEAD "group 1 dp mpi\n"}, Bad{"transport", "name", 4, HEAD "group 0 dp tcp\n"},
        Bad{"trailing", "word", 3, "lamina-program 1\nrank 0 of 1\nmembers 0 1 2\n"},
        Bad{"members_bomb", "limit", 4, HEAD "members 0 0-2000000000\n"},
        Bad{"members_down", "number", 4, HEAD "members 0 7-0\n"},
        Bad{"slabs_bomb", "limit", 4, HEAD "slabs 99999999999\n"},
        Bad{"slab_unlisted", "order", 4, HEAD "slab 3 [0] [1]\n"},
        Bad{"shape_seven_dims", "shape", 4, HEAD "buffer 0 x input f32[1,1,1,1,1,1,1] host 0+0\n"},
        Bad{"shape_negative", "shape", 4, HEAD "buffer 0 x input f32[-1] host 0+0\n"},
        Bad{"dtype", "dtype", 4, HEAD "buffer 0 x input f31[1] host 0+0\n"},
        Bad{"role", "name", 4, HEAD "buffer 0 x weights f32[1] host 0+0\n"},
        Bad{"overflow", "number", 4, HEAD "buffer 0 x input f32[1] host 0+99999999999999999999\n"},
        Bad{"quote_open", "text", 4, HEAD "group 0 \"dp mpi\n"}, Bad{"escape", "text", 4, HEAD "group 0 \"\\q\" mpi\n"},
        Bad{"step_outside", "order", 4, HEAD "step 0 compute gelu ->\n"},
        Bad{"stream_unknown", "name", 5, HEAD "program 0 eval\nstep 0 compute gelu ->\n"},
        Bad{"stream_late", "order", 7,
            HEAD "program 0 eval\nstream 0 compute\nstep 0 compute gelu ->\nstream 1 copy\n"},
        Bad{"no_arrow", "word", 6, HEAD "program 0 eval\nstream 0 compute\nstep 0 compute gelu %0 %1\n"},
        Bad{"field_unknown", "field", 6, HEAD "program 0 eval\nstream 0 compute\nstep 0 compute gelu -> color=3\n"},
        Bad{"field_twice", "field", 6, HEAD "program 0 eval\nstream 0 compute\nstep 0 compute gelu -> mb=1 mb=2\n"},
        Bad{"attribute_twice", "field", 6,
            HEAD "program 0 eval\nstream 0 compute\nstep 0 compute gelu -> .a=1 .\"a\"=2\n"},
        Bad{"attribute_value", "number", 6, HEAD "program 0 eval\nstream 0 compute\nstep 0 compute gelu -> .a=1x\n"},
        Bad{"after_list", "number", 6, HEAD "program 0 eval\nstream 0 compute\nstep 0 compute gelu -> after=1,,2\n"}),
    [](auto const& p) { return std::string(p.param.name); });

TEST(ProgramHash, differs_in_every_line_and_counts_each_rank) {
  auto const set = small_set();
  auto other = set;
  other.binding.rank = 2;
  EXPECT_NE(hash(set), hash(other));
  Template t = *set.shape;
  t.programs[0].steps[1].after.clear();
  EXPECT_NE(hash(*set.shape), hash(t));
  std::vector<ProgramSet> const ab{set, other}, ba{other, set};
  EXPECT_NE(hash(std::span(ab)), hash(std::span(ba)));
  std::vector<ProgramSet> const again{parse(print(set)), parse(print(other))};
  EXPECT_EQ(hash(std::span(ab)), hash(std::span(again)));
}

TEST(ProgramHash, is_the_same_on_every_machine) { EXPECT_EQ(hash(*small_set().shape), 10330436521478080348u); }

TEST(ProgramLookup, finds_by_name_and_role) {
  auto const set = small_set();
  EXPECT_EQ(set.shape->find_buffer("w", Role::parameter), 0);
  EXPECT_EQ(set.shape->find_buffer("w", Role::gradient), -1);
  ASSERT_NE(set.shape->find_program("forward_backward"), nullptr);
  EXPECT_EQ(set.shape->find_program("update"), nullptr);
  EXPECT_EQ(peak_bytes(set, Space::host), 1024);
  EXPECT_EQ(peak_bytes(set, Space::device), 0);
}

}  // namespace
}  // namespace lamina::program
