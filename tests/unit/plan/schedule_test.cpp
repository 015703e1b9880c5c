#include "plan/detail/schedule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lamina/base/error.hpp"

namespace lamina::plan {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = Action::Kind;

/// What an Error says; "" when none is thrown.
template <class F>
std::string message_of(F const& f) {
  try {
    f();
  } catch (Error const& e) {
    return e.what();
  }
  return "";
}

std::vector<int> one_each(int p) { return cyclic(p, 1); }

/// A forward takes 10, each part of a backward 10, the whole 20.
ActionCosts equal_parts(Schedule const& s, std::int64_t message = 0) {
  return {.stage = std::vector<std::array<std::int64_t, 4>>(s.at.size(), {10, 20, 10, 10}), .message = message};
}

std::string line(Schedule const& s, std::size_t coordinate) {
  std::string out;
  for (auto const& a : s.actions[coordinate]) {
    out += (out.empty() ? "" : " ") + std::string(1, letter_of(a.kind)) + std::to_string(a.micro_batch);
  }
  return out;
}

TEST(Schedule, all_kinds_are_sound_for_all_small_sizes) {
  for (int p = 1; p <= 5; ++p) {
    for (int m : {1, 2, 3, 4, 5, 7, 12, 13}) {
      for (auto const* kind : {"gpipe", "1f1b", "zb-h1"}) {
        auto const s = make_schedule(kind, one_each(p), p, m);
        EXPECT_THAT(find_problems(s, one_each(p), m), IsEmpty()) << kind << " p=" << p << " m=" << m;
      }
      for (int v = 1; v <= 4 && m % p == 0; ++v) {
        auto const s = make_schedule("interleaved", cyclic(p, v), p, m);
        EXPECT_THAT(find_problems(s, cyclic(p, v), m), IsEmpty()) << "p=" << p << " v=" << v << " m=" << m;
      }
    }
  }
}

TEST(Schedule, stages_may_return_to_earlier_coordinates) {
  std::vector<std::vector<int>> const assignments{{0, 1, 0}, {0, 1, 2, 1, 0}, {1, 0}, {0, 0, 1, 1}, {0, 1, 0, 1, 1, 0}};
  for (auto const& at : assignments) {
    int const p = *std::max_element(at.begin(), at.end()) + 1;
    for (int m : {1, 2, 3, 8}) {
      for (auto const* kind : {"gpipe", "1f1b", "zb-h1"}) {
        EXPECT_THAT(find_problems(make_schedule(kind, at, p, m), at, m), IsEmpty()) << kind << " m=" << m;
      }
    }
  }
}

TEST(Schedule, gpipe_does_all_forwards_then_all_backwards) {
  auto const s = make_schedule("gpipe", one_each(2), 2, 3);
  EXPECT_EQ(line(s, 0), "F0 F1 F2 B0 B1 B2");
  EXPECT_EQ(line(s, 1), "F0 F1 F2 B0 B1 B2");
  EXPECT_THAT(simulate(s, equal_parts(s)).in_flight, ElementsAre(3, 3));
}

TEST(Schedule, one_forward_one_backward_is_that_of_the_literature) {
  for (int p = 1; p <= 6; ++p) {
    for (int m : {1, 2, 5, 6, 11}) {
      auto const s = make_schedule("1f1b", one_each(p), p, m);
      for (int r = 0; r < p; ++r) {
        int const warm_up = std::min(m, p - r - 1);
        std::vector<Action> expected;
        for (int i = 0; i < warm_up; ++i) expected.push_back({Kind::forward, i, r});
        for (int i = warm_up; i < m; ++i) {
          expected.push_back({Kind::forward, i, r}), expected.push_back({Kind::backward, i - warm_up, r});
        }
        for (int i = m - warm_up; i < m; ++i) expected.push_back({Kind::backward, i, r});
        EXPECT_EQ(s.actions[static_cast<std::size_t>(r)], expected) << "p=" << p << " m=" << m << " r=" << r;
      }
      auto const played = simulate(s, equal_parts(s));
      EXPECT_EQ(played.makespan, 30 * (m + p - 1));
      for (int r = 0; r < p; ++r) EXPECT_EQ(played.in_flight[static_cast<std::size_t>(r)], std::min(m, p - r));
    }
  }
}

TEST(Schedule, interleaving_divides_the_bubble_by_the_chunks) {
  int const p = 4, m = 8;
  for (int v : {1, 2, 4}) {
    auto const s = make_schedule("interleaved", cyclic(p, v), p, m);
    ActionCosts costs = equal_parts(s);
    for (auto& c : costs.stage) c = {40 / v, 80 / v, 40 / v, 40 / v};
    EXPECT_EQ(simulate(s, costs).makespan, 120 * m + 120 / v * (p - 1)) << "v=" << v;
  }
}

TEST(Schedule, interleaving_refuses_what_is_no_multiple_and_names_the_multiples) {
  EXPECT_THAT(message_of([] { make_schedule("interleaved", cyclic(4, 2), 4, 6); }),
              AllOf(HasSubstr("plan.schedule.micro_batches"), HasSubstr("a multiple of mesh.pp: 4, 8, 12, ...")));
  EXPECT_THAT(message_of([] {
                make_schedule("interleaved", {0, 1, 0}, 2, 4);
              }),
              AllOf(HasSubstr("plan.schedule.at"), HasSubstr("in turns")));
  EXPECT_THAT(message_of([] { make_schedule("1F1B", {0}, 1, 1); }),
              AllOf(HasSubstr("plan.schedule.kind"), HasSubstr("gpipe, 1f1b")));
  EXPECT_THAT(message_of([] {
                make_schedule("1f1b", {0, 2}, 2, 1);
              }),
              AllOf(HasSubstr("plan.schedule.at"), HasSubstr("0 to 1")));
}

// Table 1 of the paper: a bubble of (p - 1)(F + I - W) instead of (p - 1)(F + I + W).
TEST(Schedule, zb_h1_has_a_third_of_the_bubble_of_1f1b_and_no_more_memory) {
  for (int p = 1; p <= 8; ++p) {
    for (int m : {p, 2 * p, 2 * p + 1, 5 * p}) {
      auto const s = make_schedule("zb-h1", one_each(p), p, m);
      auto const played = simulate(s, equal_parts(s));
      EXPECT_EQ(played.makespan, 30 * m + 10 * (p - 1)) << "p=" << p << " m=" << m;
      EXPECT_LE(*std::max_element(played.in_flight.begin(), played.in_flight.end()), p);
    }
  }
}

TEST(Schedule, zb_h1_is_never_slower_than_1f1b) {
  for (int p = 1; p <= 6; ++p) {
    for (int m = 1; m <= 14; ++m) {
      auto const zero = make_schedule("zb-h1", one_each(p), p, m), one = make_schedule("1f1b", one_each(p), p, m);
      EXPECT_LE(simulate(zero, equal_parts(zero)).makespan, simulate(one, equal_parts(one)).makespan)
          << "p=" << p << " m=" << m;
    }
  }
}

TEST(Schedule, zb_h1_does_whole_backwards_where_no_gradient_goes_on) {
  auto const s = make_schedule("zb-h1", one_each(2), 2, 4);
  EXPECT_EQ(line(s, 0), "F0 F1 B0 F2 B1 F3 B2 B3");
  EXPECT_EQ(line(s, 1), "F0 I0 F1 I1 W0 F2 I2 W1 F3 I3 W2 W3");
  for (int p = 1; p <= 6; ++p) {
    for (int m : {p, 2 * p + 1}) {
      auto const big = make_schedule("zb-h1", one_each(p), p, m);
      for (auto const& a : big.actions[0]) EXPECT_TRUE(a.kind == Kind::forward || a.kind == Kind::backward);
      EXPECT_EQ(has_weight_actions(big), p > 1);
    }
  }
}

TEST(Schedule, text_reads_back) {
  for (auto const& s : {make_schedule("zb-h1", one_each(3), 3, 40), make_schedule("interleaved", cyclic(2, 2), 2, 4),
                        make_schedule("1f1b", {0, 1, 0}, 2, 3)}) {
    auto const parsed = parse_schedule(to_text(s), "s.txt");
    EXPECT_EQ(parsed.schedule, s);
    EXPECT_EQ(to_text(parsed.schedule), to_text(s));
  }
  EXPECT_EQ(to_text(make_schedule("1f1b", {0, 1}, 2, 2)),
            "schedule 1f1b\nstages 0 1\n0: F0 F1 B0 B1\n1: F0 B0 F1 B1\n");
}

TEST(Schedule, a_file_may_have_comments_and_several_lines_per_coordinate) {
  auto const parsed =
      parse_schedule("# mine\n0: F0\n1: F0 B0  # one\n\n0: F1 B0 B1\n1: F1 I1 W1\n", "mine.txt", {0, 1});
  EXPECT_EQ(line(parsed.schedule, 0), "F0 F1 B0 B1");
  EXPECT_EQ(line(parsed.schedule, 1), "F0 B0 F1 I1 W1");
  EXPECT_THAT(parsed.lines.lines[0], ElementsAre(2, 5, 5, 5));
}

TEST(Schedule, what_does_not_read_is_told_with_its_line) {
  auto const message = [](std::string const& s, std::vector<int> const& at = {}) {
    return message_of([&] { parse_schedule(s, "s.txt", at); });
  };
  EXPECT_THAT(message("0: F0 G1\nnonsense\n"),
              AllOf(HasSubstr("s.txt:1"), HasSubstr("G1"), HasSubstr("s.txt:2"), HasSubstr("nonsense")));
  EXPECT_THAT(message("0: F-1"), HasSubstr("F-1"));
  EXPECT_THAT(message("0: F1. F.1 F9999999999"), AllOf(HasSubstr("F1."), HasSubstr("F.1"), HasSubstr("F9999999999")));
  EXPECT_THAT(message("# nothing\n"), HasSubstr("no line of actions"));
  EXPECT_THAT(message("stages 0 0\n0: F0.0 F0\n"), AllOf(HasSubstr("s.txt:2"), HasSubstr("has several: F0.0")));
  EXPECT_THAT(message("stages x"), HasSubstr("the pp coordinate of each stage"));
  EXPECT_THAT(message("2: F0", {0, 1}), HasSubstr("a coordinate that has a stage"));
}

std::string unsound(std::string const& s, std::vector<int> const& at, int m) {
  auto const parsed = parse_schedule(s, "s.txt", at);
  return message_of([&] { check(parsed.schedule, at, m, &parsed.lines); });
}

TEST(Schedule, a_check_tells_all_that_is_wrong_with_its_line) {
  EXPECT_EQ(unsound("0: F0 B0\n1: F0 B0\n", {0, 1}, 1), "");
  EXPECT_EQ(unsound("0: F0 B0\n1: F0 I0 W0\n", {0, 1}, 1), "");
  EXPECT_THAT(unsound("0: F0 B0\n1: F0 I0\n", {0, 1}, 1),
              HasSubstr("stage 1 (coordinate 1) has no backward for weights"));
  EXPECT_THAT(unsound("0: F0 B0\n1: F0 B0 W0\n", {0, 1}, 1), HasSubstr("a whole backward (B) and a part of one (W)"));
  EXPECT_THAT(unsound("0: F0 B0 F0\n1: B0\n", {0, 1}, 1),
              AllOf(HasSubstr("s.txt:1: F0.0 a second time; first on line 1"),
                    HasSubstr("stage 1 (coordinate 1) has no forward")));
  EXPECT_THAT(unsound("0: F0 B0 F1\n1: F0 B0\n", {0, 1}, 1), HasSubstr("micro-batches are 0 to 0"));
  EXPECT_THAT(unsound("0: F0.1 B0\n1: F0 B0\n", {0, 1}, 1), HasSubstr("F0.1 at coordinate 0: stage 1 is at 1"));
  EXPECT_THAT(unsound("0: F0.7 B0\n1: F0 B0\n", {0, 1}, 1), HasSubstr("stages are 0 to 1"));
  EXPECT_THAT(unsound("stages 1 0\n0: F0 B0\n1: F0 B0\n", {0, 1}, 1), HasSubstr("[1, 0], the run at [0, 1]"));
}

TEST(Schedule, the_example_of_the_readme_is_sound) {
  EXPECT_EQ(unsound("schedule mine          # a name\nstages 0 1 0\n0: F0.0 F1.0 F0.2 B0.2 F1.2 B1.2 B0.0 B1.0\n"
                    "1: F0 F1 B0\n1: B1\n",
                    {0, 1, 0}, 2),
            "");
}

TEST(Schedule, a_check_finds_orders_that_are_not_possible) {
  EXPECT_THAT(unsound("0: B0 F0\n", {0}, 1), HasSubstr("B0.0 waits for F0.0, which coordinate 0 does later"));
  EXPECT_THAT(unsound("0: F0 W0 I0\n", {0}, 1), HasSubstr("W0.0 waits for I0.0"));
  // Each is fine on its own; together 0 waits for the backward of 0 and 1 for the forward of 1.
  EXPECT_THAT(
      unsound("0: F0 B0 F1 B1\n1: F0 F1 B0 B1\n", {0, 1}, 2),
      AllOf(HasSubstr("2 problems"), HasSubstr("s.txt:1: the order is not possible: B0.0 waits for B0.1"),
            HasSubstr("s.txt:2: the order is not possible: F1.1 waits for F1.0, which coordinate 0 does after B0.0")));
}

TEST(Schedule, a_message_delays_the_next_coordinate_and_not_the_sender) {
  auto const s = make_schedule("1f1b", {0, 1}, 2, 1);
  auto const played = simulate(s, equal_parts(s, 5));
  EXPECT_EQ(played.spans[0], (std::vector<Simulated::Span>{{0, 10}, {50, 70}}));  // 5 there, 5 back
  EXPECT_EQ(played.spans[1], (std::vector<Simulated::Span>{{15, 25}, {25, 45}}));
  EXPECT_EQ(played.makespan, 70);
  EXPECT_DOUBLE_EQ(played.bubble, 1 - 60.0 / 140);
  auto const same = make_schedule("1f1b", {0, 0}, 1, 1);
  EXPECT_EQ(simulate(same, equal_parts(same, 5)).makespan, 60);
}

TEST(Schedule, the_chart_shows_micro_batches_and_waiting) {
  auto const s = make_schedule("1f1b", {0, 1}, 2, 2);
  EXPECT_EQ(chart(s, simulate(s, equal_parts(s))),
            "pp 0 (stage 0) |F0F1....B0--..B1--|\n"
            "pp 1 (stage 1) |..F0B0--F1B1--....|\n");
}

TEST(Schedule, a_long_chart_is_scaled_to_the_width) {
  auto const s = make_schedule("interleaved", cyclic(4, 2), 4, 64);
  auto const drawn = chart(s, simulate(s, equal_parts(s)));
  std::size_t from = 0;
  for (int r = 0; r < 4; ++r) {
    auto const to = drawn.find('\n', from);
    EXPECT_LE(to - from, 120u);
    from = to + 1;
  }
  EXPECT_EQ(from, drawn.size());
}

}  // namespace
}  // namespace lamina::plan
