#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "lamina/base/text.hpp"
#include "lamina/runtime/executor.hpp"
#include "support/allocations.hpp"
#include "support/kernel_thread.hpp"

namespace lamina {
namespace {

TEST(Allocations, are_counted_on_every_thread) {
  if (!test::counts_allocations()) GTEST_SKIP() << "a sanitizer has its own malloc";
  test::Allocations allocations;
  std::vector<std::unique_ptr<int>> kept;
  kept.reserve(3);
  EXPECT_EQ(allocations.count(), 1);
  std::thread([&] { kept.push_back(std::make_unique<int>(1)); }).join();
  EXPECT_GE(allocations.count(), 3);  // the thread's state and the int
  EXPECT_NE(allocations.places(), "");
}

/// Kernels of several shapes, an all-reduce of a small and of a large tensor, a second stream that waits for the first.
std::string programs(int rank, int n, std::int64_t count) {
  auto const bytes = (count * 4 + 63) / 64 * 64;
  auto const members = n == 2 ? "0,1" : "0";
  auto const at = [&](int i) { return text("host ", i * bytes, '+', bytes, '\n'); };
  return text("lamina-program 1\nrank ", rank, " of ", n, "\nmembers 0 ", members, "\nmembers 1 ", members,
              "\narena host=", 8 * bytes, " shared=0 pinned=0 device=0\ngroup 0 dp mpi axis=dp\ngroup 1 control mpi\n",
              "buffer 0 a input f32[", count, "] ", at(0), "buffer 1 g gradient f32[", count, "] ", at(1),
              "buffer 2 w gradient f32[8,8] ", at(2), "buffer 3 loss output f64[2] ", at(3),
              "buffer 4 p parameter f32[", count, "] ", at(4), "buffer 5 p moment1 f32[", count, "] ", at(5),
              "buffer 6 hyper input f64[4] ", at(6), "buffer 7 norm output f64[2] ", at(7),
              R"(program 0 forward_backward
stream 0 compute
stream 1 comm.dp group=dp
stream 2 comm.control group=control
step 0 compute add %0 %0 -> %1
step 1 comm.dp all_reduce %1 -> %1 after=0 bytes=1200028
step 2 compute zero -> %2
step 3 comm.dp all_reduce %2 -> %2 after=2
step 4 compute zero -> %3
step 5 comm.control all_reduce %3 -> %3 after=3,4
step 6 compute square_norm %1 %2 -> %7 after=5
program 1 update
stream 0 compute
step 0 compute sgd %1 %4 %5 %6 -> %4 %5 .momentum=0.5 .weight_decay=0.0
)");
}

TEST(Executor, allocates_nothing_in_a_run_after_the_first_on_any_thread) {
  if (!test::counts_allocations()) GTEST_SKIP() << "a sanitizer has its own malloc";
  auto const world = comm::Communicator::world();
  runtime::Executor executor(program::parse(programs(world.rank(), world.size(), 300007)), world);
  executor.enable_profile(true);
  executor.enable_trace(true);
  auto const step = [&] {
    executor.run("forward_backward");
    executor.run("update");
  };
  step();
  std::int64_t count = 0;
  std::string places;
  {
    test::Allocations allocations;
    for (int i = 0; i < 5; ++i) step();
    count = allocations.count(), places = allocations.places();
  }
  EXPECT_EQ(count, 0) << places;
}

}  // namespace
}  // namespace lamina
