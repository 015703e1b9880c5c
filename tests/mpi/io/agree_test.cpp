#include "lamina/io/agree.hpp"

#include <gtest/gtest.h>

#include <source_location>
#include <stdexcept>
#include <string>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::io {
namespace {

Error outcome_with_place(comm::Communicator const& world, std::function<void()> const& work) {
  try {
    agree(world, work);
  } catch (Error const& e) {
    return e;
  }
  return Error({.code = "", .subject = "", .found = "", .expected = "", .fix = ""});
}

ErrorInfo outcome(comm::Communicator const& world, std::function<void()> const& work) {
  return outcome_with_place(world, work).info();
}

TEST(Agree, returns_on_every_rank_when_all_succeed) {
  auto const world = comm::Communicator::world();
  int done = 0;
  EXPECT_EQ(outcome(world, [&] { ++done; }).code, "");
  EXPECT_EQ(done, 1);
}

TEST(Agree, throws_the_error_of_the_lowest_failing_rank_on_every_rank) {
  auto const world = comm::Communicator::world();
  int const n = world.size();
  for (int failing = 0; failing < n; ++failing) {
    auto const e = outcome(world, [&] {
      if (world.rank() >= failing)
        fail({.code = "io.file.write",
              .subject = text("file ", world.rank()),
              .found = std::string(100'000, 'x'),
              .expected = "",
              .fix = "\xff"});
    });
    EXPECT_EQ(e.code, "io.file.write");
    EXPECT_EQ(e.subject, n > 1 ? text("rank ", failing, ": file ", failing) : "file 0");
    EXPECT_EQ(e.found.size(), 100'000u);
    EXPECT_EQ(e.expected, "");
    EXPECT_EQ(e.fix, "\xff");
  }
}

TEST(Agree, tells_every_rank_where_the_failing_one_threw) {
  auto const world = comm::Communicator::world();
  int const last = world.size() - 1;
  std::string here;  // of the last rank, which alone fails
  auto const e = outcome_with_place(world, [&] {
    if (world.rank() != last) return;
    auto const at = std::source_location::current();
    here = text("tests/mpi/io/agree_test.cpp:", at.line() + 2);
    fail({.code = "io.file.write", .subject = "", .found = "", .expected = "", .fix = ""});
  });
  world.broadcast_bytes(here, last);
  EXPECT_EQ(e.place(), here);
  EXPECT_TRUE(std::string(e.what()).ends_with("  at:       " + here)) << e.what();
}

TEST(Agree, carries_other_exceptions_too) {
  auto const world = comm::Communicator::world();
  auto const e = outcome(world, [&] {
    if (world.rank() == world.size() - 1) throw std::runtime_error("boom");
  });
  EXPECT_EQ(e.code, "io.agree.exception");
  EXPECT_EQ(e.found, "boom");
}

}  // namespace
}  // namespace lamina::io
