#include "lamina/runtime/executor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"
#include "support/errors.hpp"
#include "support/kernel_thread.hpp"

namespace lamina {
namespace {

using comm::Communicator;
using runtime::Executor;

std::string everyone(int n) { return n > 2 ? text("0-", n - 1) : n == 2 ? "0,1" : "0"; }

/// Two gradients, each reduced while the next kernel runs; the second one once more on another stream, which has to
/// wait for the first stream.
std::string overlap(int rank, int n, std::int64_t count) {
  auto const bytes = (count * 4 + 63) / 64 * 64;
  auto const buffer = [&](int id, char const* name, char const* role) {
    return text("buffer ", id, ' ', name, ' ', role, " f32[", count, "] host ", id * bytes, '+', bytes, '\n');
  };
  return text("lamina-program 1\nrank ", rank, " of ", n, "\nmembers 0 ", everyone(n), "\nmembers 1 ", everyone(n),
              "\narena host=", 5 * bytes, " shared=0 pinned=0 device=0\ngroup 0 dp mpi axis=dp\ngroup 1 control mpi\n",
              buffer(0, "a", "input"), buffer(1, "b", "input"), buffer(2, "g0", "gradient"),
              buffer(3, "g1", "gradient"), buffer(4, "c", "output"), R"(program 0 main
stream 0 compute
stream 1 comm.dp group=dp
stream 2 comm.control group=control
step 0 compute add %0 %1 -> %2
)",
              "step 1 comm.dp all_reduce %2 -> %2 after=0 bytes=", count * 4, "\nstep 2 compute add %0 %0 -> %3\n",
              "step 3 comm.dp all_reduce %3 -> %3 after=2 bytes=", count * 4,
              "\nstep 4 comm.control all_reduce %3 -> %3 after=3 bytes=", count * 4,
              "\nstep 5 compute add %2 %3 -> %4 after=4\n");
}

TEST(Executor, overlaps_kernels_with_reductions_and_gets_the_sums_of_all_ranks) {
  auto const world = Communicator::world();
  int const n = world.size(), rank = world.rank();
  for (std::int64_t const count : {5, 150007}) {  // the second in arenas that ranks of a node map
    std::vector<program::ProgramSet> sets;
    for (int r = 0; r < n; ++r) sets.push_back(program::parse(overlap(r, n, count)));
    EXPECT_TRUE(program::verify(sets).empty());
    Executor executor(sets[static_cast<std::size_t>(rank)], world);
    executor.enable_profile(true);
    auto* const a = executor.buffer("a", Role::input).as<float>();
    auto* const b = executor.buffer("b", Role::input).as<float>();
    for (int round = 0; round < 4; ++round) {
      for (std::int64_t i = 0; i < count; ++i) {
        a[i] = static_cast<float>(i % 7 + rank), b[i] = static_cast<float>(round);
      }
      executor.run("main");
      auto const* const c = executor.buffer("c", Role::output).as<float>();
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        auto const sum_a = n * (i % 7) + n * (n - 1) / 2;
        wrong += c[i] != static_cast<float>(sum_a + n * round + n * 2 * sum_a);
      }
      EXPECT_EQ(wrong, 0) << "rank " << rank << " round " << round;
      EXPECT_GE(executor.exposed_communication_seconds(), 0);
    }
    auto const rows = executor.take_profile();
    auto const row = std::find_if(rows.begin(), rows.end(), [](auto const& r) { return r.op == "all_reduce"; });
    EXPECT_EQ(row == rows.end() ? 0 : row->calls, 12);
  }
}

/// A pipeline: every rank but the first receives, adds, and every rank but the last sends.
std::string pipeline(int rank, int n) {
  auto out = text("lamina-program 1\nrank ", rank, " of ", n, '\n');
  std::string groups, streams, steps = "stream 0 compute\n";
  int group = 0, step = 0;
  auto const add_group = [&](int from) {
    out += text("members ", group, ' ', from, ',', from + 1, '\n');
    groups += text("group ", group, " pp.", from, '>', from + 1, " mpi axis=pp\n");
    streams += text("stream ", group + 1, " comm.pp.", from, '>', from + 1, " group=pp.", from, '>', from + 1, '\n');
    return group++;
  };
  std::string body;
  if (rank > 0) {
    add_group(rank - 1);
    body += text("step ", step++, " comm.pp.", rank - 1, '>', rank, " recv -> %1 peer=0\n");
    body += text("step ", step++, " compute add %1 %0 -> %2 after=0\n");
  } else {
    body += text("step ", step++, " compute add %0 %0 -> %2\n");
  }
  if (rank < n - 1) {
    add_group(rank);
    body += text("step ", step, " comm.pp.", rank, '>', rank + 1, " send %2 -> peer=1 after=", step - 1, '\n');
  }
  return text(out, "arena host=4096 shared=0 pinned=0 device=0\n", groups,
              "buffer 0 a input f32[3] host 0+64\nbuffer 1 z message f32[3] host 64+64 program=0\n"
              "buffer 2 z output f32[3] host 128+64\nprogram 0 main\nstream 0 compute\n",
              streams, body);
}

TEST(Executor, passes_messages_down_a_pipeline) {
  auto const world = Communicator::world();
  int const n = world.size(), rank = world.rank();
  std::vector<program::ProgramSet> sets;
  for (int r = 0; r < n; ++r) sets.push_back(program::parse(pipeline(r, n)));
  EXPECT_TRUE(program::verify(sets).empty());
  Executor executor(sets[static_cast<std::size_t>(rank)], world);
  auto* const a = executor.buffer("a", Role::input).as<float>();
  for (int round = 1; round < 4; ++round) {
    std::fill_n(a, 3, static_cast<float>(round));
    executor.run("main");
    EXPECT_EQ(executor.buffer("z", Role::output).as<float>()[2], static_cast<float>(round * (rank + 2)));
  }
}

TEST(Executor, notes_when_each_step_was_executed_while_its_trace_is_on) {
  auto const world = Communicator::world();
  int const n = world.size(), rank = world.rank();
  Executor executor(program::parse(pipeline(rank, n)), world);
  executor.run("main");
  EXPECT_TRUE(executor.traced_steps().empty());
  auto const now = [] { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); };
  auto const before = now();
  executor.enable_trace(true);
  executor.run("main");
  executor.enable_trace(false);
  auto const steps = executor.traced_steps();
  EXPECT_TRUE(steps.empty()) << "that trace is over";
  executor.enable_trace(true);
  for (int i = 0; i < 2; ++i) executor.run("main");
  auto const traced = executor.traced_steps();
  auto const& program = executor.set().shape->programs[0];
  EXPECT_EQ(traced.size(), program.steps.size());
  std::int64_t last_of_compute = before;
  for (std::size_t i = 0; i < traced.size(); ++i) {
    auto const& t = traced[i];
    EXPECT_EQ(t.program, &program);
    EXPECT_EQ(t.step, static_cast<int>(i));
    EXPECT_GE(t.start_ns, before);
    EXPECT_GE(t.end_ns, t.start_ns);
    EXPECT_LE(t.end_ns, now());
    EXPECT_GE(t.waited_ns, 0);
    if (program.steps[i].kind != program::StepKind::kernel) continue;
    EXPECT_GE(t.start_ns - t.waited_ns, last_of_compute);
    last_of_compute = t.end_ns;
    for (auto const other : program.steps[i].after) {
      EXPECT_GE(t.start_ns, traced[static_cast<std::size_t>(other)].end_ns) << "it waits for that step";
    }
  }
  world.barrier();
}

/// Rank 0 answers what rank 1 asks for, but its list has the answer behind a kernel that waits for rank 1's thanks.
std::string ready_send(int rank, int n) {
  std::string const head = text("lamina-program 1\nrank ", rank, " of ", n, "\n");
  std::string const buffers = R"(arena host=192 shared=0 pinned=0 device=0
group 0 pp.0>1 mpi axis=pp
group 1 pp.1>0 mpi axis=pp
)";
  std::string const program = R"(program 0 main
stream 0 compute
stream 1 comm.pp.0>1 group=pp.0>1
stream 2 comm.pp.1>0 group=pp.1>0
)";
  if (rank > 1) return head + "arena host=0 shared=0 pinned=0 device=0\nprogram 0 main\nstream 0 compute\n";
  if (rank == 0) {
    return text(head, "members 0 0,1\nmembers 1 1,0\n", buffers, R"(buffer 0 a input f32[3] host 0+64
buffer 1 thanks message f32[3] host 64+64 program=0
buffer 2 z output f32[3] host 128+64
)",
                program, R"(step 0 comm.pp.1>0 recv -> %1 peer=0
step 1 compute add %1 %1 -> %2 after=0
step 2 comm.pp.0>1 send %0 -> peer=1
)");
  }
  return text(head, "members 0 0,1\nmembers 1 1,0\n", buffers, R"(buffer 0 a message f32[3] host 0+64 program=0
buffer 1 thanks activation f32[3] host 64+64 program=0
)",
              program, R"(step 0 comm.pp.0>1 recv -> %0 peer=0
step 1 compute add %0 %0 -> %1 after=0
step 2 comm.pp.1>0 send %1 -> peer=1 after=1
)");
}

TEST(Executor, issues_a_send_that_is_ready_although_a_kernel_before_it_in_the_list_waits) {
  auto const world = Communicator::world();
  int const n = world.size(), rank = world.rank();
  if (n == 1) GTEST_SKIP() << "a message needs two ranks";
  std::vector<program::ProgramSet> sets;
  for (int r = 0; r < n; ++r) sets.push_back(program::parse(ready_send(r, n)));
  EXPECT_TRUE(program::verify(sets).empty());
  Executor executor(sets[static_cast<std::size_t>(rank)], world);
  for (int round = 1; round < 3; ++round) {
    if (rank == 0) std::fill_n(executor.buffer("a", Role::input).as<float>(), 3, static_cast<float>(round));
    executor.run("main");
    if (rank == 0) {
      EXPECT_EQ(executor.buffer("z", Role::output).as<float>()[2], 4 * static_cast<float>(round));
    }
  }
}

/// Gradients of two tensors, scattered as flat rows into parts that are as long as the longest, doubled, gathered
/// again; and tokens (dim 1) of an activation gathered.
std::string zero(int rank, int n) {
  std::string rows = "0";  // of 2 n + 1 rows: the last rank has one more
  for (int r = 1; r <= n; ++r) rows += text(",", 2 * r + (r == n));
  auto const bytes = [](std::int64_t count) { return (count * 4 + 63) / 64 * 64; };
  std::int64_t const w = (2 * n + 1) * 3, part = 3 * 3, x = 2 * n * 5, mine = 2 * 5;
  std::int64_t at = 0;
  auto const buffer = [&](int id, char const* name, char const* role, std::string const& shape, std::int64_t count,
                          char const* more = "") {
    auto const line =
        text("buffer ", id, ' ', name, ' ', role, " f32", shape, " host ", at, '+', bytes(count), more, '\n');
    at += bytes(count);
    return line;
  };
  auto const buffers = buffer(0, "w", "gradient", text("[", 2 * n + 1, ",3]"), w) +
                       buffer(1, "b", "gradient", text("[", 2 * n + 1, "]"), 2 * n + 1) +
                       buffer(2, "wp", "activation", "[3,3]", part, " program=0") +
                       buffer(3, "bp", "activation", "[3]", 3, " program=0") +
                       buffer(4, "mine", "input", "[2,1,5]", mine) + buffer(5, "x", "output", text("[2,", n, ",5]"), x);
  return text("lamina-program 1\nrank ", rank, " of ", n, "\nmembers 0 ", everyone(n), "\narena host=", at,
              " shared=0 pinned=0 device=0\ngroup 0 dp mpi axis=dp\n", buffers, R"(program 0 main
stream 0 compute
stream 1 comm.dp group=dp
step 0 comm.dp reduce_scatter %0 %1 -> %2 %3 .flat=1 .rows=")",
              rows, ';', rows, R"("
step 1 compute add %2 %2 -> %2 after=0
step 2 comm.dp all_gather %2 %3 -> %0 %1 after=1 .flat=1 .rows=")",
              rows, ';', rows, R"("
step 3 comm.dp all_gather %4 -> %5 .dim=1
)");
}

TEST(Executor, scatters_and_gathers_lists_of_flat_rows_and_tokens) {
  auto const world = Communicator::world();
  int const n = world.size(), rank = world.rank();
  std::vector<program::ProgramSet> sets;
  for (int r = 0; r < n; ++r) sets.push_back(program::parse(zero(r, n)));
  for (auto const& p : program::verify(sets)) ADD_FAILURE() << p.message;
  Executor executor(sets[static_cast<std::size_t>(rank)], world);
  auto const w = executor.buffer("w", Role::gradient), b = executor.buffer("b", Role::gradient);
  auto const mine = executor.buffer("mine", Role::input), x = executor.buffer("x", Role::output);
  for (std::int64_t i = 0; i < w.spec.count(); ++i) w.as<float>()[i] = static_cast<float>(i);
  for (std::int64_t i = 0; i < b.spec.count(); ++i) b.as<float>()[i] = static_cast<float>(i * 10);
  for (std::int64_t i = 0; i < mine.spec.count(); ++i) mine.as<float>()[i] = static_cast<float>(100 * rank + i);
  executor.run("main");
  for (std::int64_t i = 0; i < w.spec.count(); ++i) EXPECT_EQ(w.as<float>()[i], static_cast<float>(2 * n * i));
  for (std::int64_t i = 0; i < b.spec.count(); ++i) EXPECT_EQ(b.as<float>()[i], static_cast<float>(10 * n * i));
  for (std::int64_t i = 0; i < x.spec.count(); ++i) {
    auto const sample = i / (5 * n), owner = i / 5 % n;
    EXPECT_EQ(x.as<float>()[i], static_cast<float>(100 * owner + 5 * sample + i % 5));
  }
}

TEST(Executor, gives_up_a_mismatched_collective_and_names_the_step) {
  auto const world = Communicator::world();
  int const n = world.size(), rank = world.rank();
  if (n == 1) GTEST_SKIP() << "one rank agrees with itself";
  {
    Executor executor(program::parse(overlap(rank, n, 3 + rank)), world);
    auto const error = test::error_of([&] { executor.run("main"); });
    EXPECT_EQ(error.code, "comm.mismatch");
    EXPECT_TRUE(error.subject.starts_with("program main, step 1 all_reduce, rank ")) << error.subject;
  }
  world.barrier();
}

}  // namespace
}  // namespace lamina
