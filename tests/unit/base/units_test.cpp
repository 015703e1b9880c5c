#include "lamina/base/units.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamina/base/error.hpp"

namespace lamina {
namespace {

using ::testing::HasSubstr;

template <class F>
ErrorInfo problem_of(F const& f) {
  try {
    f();
  } catch (Error const& e) {
    return e.info();
  }
  return {.code = "none", .subject = "", .found = "", .expected = "", .fix = ""};
}

TEST(Units, bytes_in_every_spelling_that_is_promised) {
  EXPECT_EQ(parse_bytes("64 MiB"), 64 << 20);
  EXPECT_EQ(parse_bytes("8GiB"), std::int64_t{8} << 30);
  EXPECT_EQ(parse_bytes("  1.5   KiB "), 1536);
  EXPECT_EQ(parse_bytes("25 MB"), 25'000'000);
  EXPECT_EQ(parse_bytes("0 B"), 0);
  EXPECT_EQ(parse_bytes("1e3 B"), 1000);
  EXPECT_EQ(parse_bytes("3 PiB"), std::int64_t{3} << 50);
}

TEST(Units, seconds_in_every_spelling_that_is_promised) {
  EXPECT_EQ(parse_seconds("30 s"), 30);
  EXPECT_EQ(parse_seconds("10 min"), 600);
  EXPECT_EQ(parse_seconds("2h"), 7200);
  EXPECT_EQ(parse_seconds("1 d"), 86400);
  EXPECT_EQ(parse_seconds("250 ms"), 0.25);
  EXPECT_EQ(parse_seconds("0.5 s"), 0.5);
}

TEST(Units, a_wrong_unit_gets_the_nearest_one) {
  auto const fix = [](auto f, std::string_view s) { return problem_of([&] { f(s); }).fix; };
  EXPECT_THAT(fix(parse_bytes, "64 MIB"), HasSubstr("'MiB'"));
  EXPECT_THAT(fix(parse_bytes, "64 mb"), HasSubstr("'MB'"));
  EXPECT_THAT(fix(parse_bytes, "8 G"), HasSubstr("'GiB'"));
  EXPECT_THAT(fix(parse_bytes, "8 M"), HasSubstr("'MiB'"));
  EXPECT_THAT(fix(parse_bytes, "8 Gib"), HasSubstr("'GiB'"));
  EXPECT_THAT(fix(parse_seconds, "30 seconds"), HasSubstr("'s'"));
  EXPECT_THAT(fix(parse_seconds, "30 m"), HasSubstr("'min'"));
  EXPECT_THAT(fix(parse_seconds, "30 mni"), HasSubstr("'min'"));
  EXPECT_EQ(problem_of([] { parse_seconds("3 parsecs"); }).code, "base.units.unknown");
}

TEST(Units, what_is_no_quantity_is_refused) {
  auto const bytes = [](std::string_view s) { return problem_of([&] { parse_bytes(s); }).code; };
  EXPECT_EQ(bytes("64"), "base.units.missing");
  EXPECT_EQ(bytes(""), "base.units.number");
  EXPECT_EQ(bytes("MiB"), "base.units.number");
  EXPECT_EQ(bytes("many MiB"), "base.units.number");
  EXPECT_EQ(bytes("nan MiB"), "base.units.number");
  EXPECT_EQ(bytes("inf B"), "base.units.number");
  EXPECT_EQ(bytes("-1 B"), "base.units.range");
  EXPECT_EQ(bytes("1e30 B"), "base.units.range");
  EXPECT_EQ(bytes("1e999 B"), "base.units.range");
  EXPECT_EQ(bytes("4 MiB 2"), "base.units.unknown");
  EXPECT_EQ(problem_of([] { parse_seconds("1e9 d"); }).code, "base.units.range");
  EXPECT_EQ(Error(problem_of([] { parse_bytes("64"); })).exit_code(), ExitCode::usage);
}

TEST(Units, the_exact_text_reads_back) {
  for (std::int64_t n : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1000}, std::int64_t{1} << 10,
                         std::int64_t{25} << 20, (std::int64_t{1} << 40) + 1, std::int64_t{7} << 50}) {
    EXPECT_EQ(parse_bytes(exact_bytes(n)), n);
  }
  EXPECT_EQ(exact_bytes(25 << 20), "25 MiB");
  EXPECT_EQ(exact_bytes(1025), "1025 B");
  for (double x : {0.0, 1e-9, 0.1, 1.0 / 3, 30.0, 90.0, 600.0, 5400.0, 86400.0, 1e9 + 0.5}) {
    EXPECT_EQ(parse_seconds(exact_seconds(x)), x);
  }
  EXPECT_EQ(exact_seconds(30), "30 s");
  EXPECT_EQ(exact_seconds(600), "10 min");
  EXPECT_EQ(exact_seconds(0), "0 s");
}

TEST(Units, three_digits_for_people) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.50 KiB");
  EXPECT_EQ(human_bytes((std::int64_t{1} << 20) - 1), "1.00 MiB");
  EXPECT_EQ(human_bytes(std::int64_t{117} << 30), "117 GiB");
  EXPECT_EQ(human_bytes(-1536), "-1.50 KiB");
  EXPECT_EQ(human_seconds(0), "0 s");
  EXPECT_EQ(human_seconds(3.2e-6), "3.20 us");
  EXPECT_EQ(human_seconds(12.34), "12.3 s");
  EXPECT_EQ(human_seconds(125), "2 min 05 s");
  EXPECT_EQ(human_seconds(59.97), "1 min 00 s");
  EXPECT_EQ(human_seconds(12000), "3 h 20 min");
  EXPECT_EQ(human_seconds(2 * 86400 + 3 * 3600), "2 d 3 h");
  EXPECT_EQ(human_seconds(-2), "-2.00 s");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(0.5), "0.50");
  EXPECT_EQ(human_count(12345), "12.3 k");
  EXPECT_EQ(human_count(124'439'808), "124 M");
  EXPECT_EQ(human_count(1.5e9), "1.50 G");
}

}  // namespace
}  // namespace lamina
