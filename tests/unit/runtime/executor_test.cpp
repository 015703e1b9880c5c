#include "lamina/runtime/executor.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "lamina/base/text.hpp"
#include "runtime/detail/bound_program.hpp"
#include "support/errors.hpp"
#include "support/kernel_cases.hpp"

namespace lamina {
namespace {

using runtime::Executor;

constexpr char const* sum_program = R"(lamina-program 1
rank 0 of 1
arena host=1024 shared=0 pinned=0 device=0
buffer 0 a input f32[7] host 0+64
buffer 1 b input f32[7] host 64+64
buffer 2 c output f32[7] host 128+64
buffer 3 t activation f32[7] host 192+64 program=0
buffer 4 d output f32[7] host 256+64
program 0 main
stream 0 compute
step 0 compute add %0 %1 -> %3 layer=first bytes=84 flops=7
step 1 compute add %3 %0 -> %2 layer=second mb=1 bytes=84 flops=7
program 1 again
stream 0 compute
step 0 compute add %2 %1 -> %4 bytes=84 flops=7
)";

Executor make(std::string_view text, runtime::ExecutorOptions options = {}) {
  return Executor(program::parse(text), comm::Communicator::self(), options);
}

void fill(TensorRef t, float first) { std::iota(t.as<float>(), t.as<float>() + t.spec.count(), first); }

TEST(Executor, runs_the_steps_of_a_program_over_buffers_that_persist) {
  for (bool const reference : {false, true}) {
    auto executor = make(sum_program, {.reference_kernels = reference});
    fill(executor.buffer("a", Role::input), 1);
    fill(executor.buffer("b", Role::input), 100);
    executor.run("main");
    executor.run("again");
    auto const c = executor.buffer("c", Role::output), d = executor.buffer("d", Role::output);
    for (int i = 0; i < 7; ++i) {
      EXPECT_EQ(c.as<float>()[i], 2.0f * static_cast<float>(i + 1) + static_cast<float>(100 + i));
      EXPECT_EQ(d.as<float>()[i], c.as<float>()[i] + static_cast<float>(100 + i));
    }
    EXPECT_EQ(c.spec, (TensorSpec{DType::f32, {7}}));
  }
}

TEST(Executor, starts_with_persistent_buffers_of_zeros) {
  auto const executor = make(sum_program);
  auto const a = executor.buffer("a", Role::input);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(a.as<float>()[i], 0);
}

TEST(Executor, knows_its_programs_and_buffers_and_suggests_the_closest) {
  auto executor = make(sum_program);
  EXPECT_TRUE(executor.has_program("again"));
  EXPECT_FALSE(executor.has_program("agian"));
  EXPECT_EQ(test::error_of([&] { executor.run("agian"); }).code, "runtime.program.unknown");
  auto const missing = test::error_of([&] { executor.buffer("aa", Role::input); });
  EXPECT_EQ(missing.code, "runtime.buffer.unknown");
  EXPECT_EQ(missing.fix, "did you mean 'a'?");
  EXPECT_EQ(test::error_of([&] { executor.buffer("a", Role::output); }).code, "runtime.buffer.unknown");
}

TEST(Executor, profiles_each_kind_of_op) {
  auto executor = make(sum_program);
  executor.run("main");
  executor.enable_profile(true);
  executor.run("main");
  executor.run("again");
  auto const rows = executor.take_profile();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].op, "add");
  EXPECT_EQ(rows[0].calls, 3);
  EXPECT_EQ(rows[0].flops, 21);
  EXPECT_EQ(rows[0].bytes, 252);
  EXPECT_GT(rows[0].seconds, 0);
  EXPECT_TRUE(executor.take_profile().empty());
}

TEST(Executor, tells_where_it_is) {
  auto executor = make(sum_program);
  EXPECT_EQ(executor.position().program, "");
  executor.run("again");
  auto const first = executor.position();
  EXPECT_EQ(first.program, "again");
  EXPECT_EQ(first.step, -1);
  EXPECT_FALSE(first.waiting);
  executor.run("main");
  EXPECT_EQ(executor.position().program, "main");
  EXPECT_GT(executor.position().changes, first.changes);
}

TEST(Executor, names_the_step_of_a_kernel_that_fails) {
  auto executor = make(R"(lamina-program 1
rank 0 of 1
arena host=1024 shared=0 pinned=0 device=0
buffer 0 table parameter f32[2,1] host 0+64
buffer 1 tokens input i32[1,1] host 64+64
buffer 2 x output f32[1,1,1] host 128+64
program 0 eval
stream 0 compute
step 0 compute zero -> %2
step 1 compute embedding %0 %1 -> %2 layer=embed mb=3
)");
  executor.buffer("tokens", Role::input).as<std::int32_t>()[0] = 2;
  auto const error = test::error_of([&] { executor.run("eval"); });
  EXPECT_EQ(error.code, "kernels.embedding.id");
  EXPECT_TRUE(error.subject.starts_with("program eval, step 1 embedding embed, micro-batch 3, rank 0: "))
      << error.subject;
  executor.buffer("tokens", Role::input).as<std::int32_t>()[0] = 1;
  executor.run("eval");  // nothing was in flight: it goes on
}

/// A one-step program of two f32[2] inputs and outputs, a scratch and an f64 pair.
std::string with_step(std::string const& step, std::string const& streams = "stream 0 compute\n") {
  return text(R"(lamina-program 1
rank 0 of 1
members 0 0
arena host=1024 shared=0 pinned=0 device=0
group 0 g mpi
buffer 0 a input f32[2] host 0+64
buffer 1 b input f32[2] host 64+64
buffer 2 c output f32[2] host 128+64
buffer 3 h input f64[4] host 192+64
program 0 main
)",
              streams, "step 0 ", step, "\n");
}

TEST(Executor, refuses_steps_that_it_cannot_bind_and_names_them) {
  auto const bind = [](std::string const& step) { return test::error_of([&] { make(with_step(step)); }); };
  auto const unknown = bind("compute ad %0 %1 -> %2 layer=here");
  EXPECT_EQ(unknown.code, "runtime.bind.op");
  EXPECT_EQ(unknown.fix, "did you mean 'add'?");
  EXPECT_EQ(unknown.subject, "program main, step 0 ad here, rank 0");
  EXPECT_EQ(bind("compute add %0 -> %2").code, "runtime.bind.operands");
  EXPECT_EQ(bind("compute add %0 %1 %1 -> %2").code, "runtime.bind.operands");
  EXPECT_EQ(bind("compute dropout %0 %1 -> %2").code, "tensor.attribute.missing");
  EXPECT_EQ(bind("compute sgd %0 %1 %1 %3 -> %2 %2 .momentum=0.5 .weight_decay=0.0").code, "runtime.bind.in_place");
  EXPECT_EQ(bind("compute linear_gelu %0 %1 -> %2 %2 .activation=\"tanh\" .rows_dims=1").code,
            "runtime.bind.activation");
}

TEST(Executor, refuses_a_set_for_other_ranks_spaces_or_transports) {
  auto const bind = [](std::string set, std::string_view from, std::string_view to) {
    set.replace(set.find(from), from.size(), to);
    return test::error_of([&] { make(set); }).code;
  };
  auto const sound = with_step("compute add %0 %1 -> %2");
  make(sound);
  EXPECT_EQ(bind(sound, "rank 0 of 1", "rank 0 of 2"), "runtime.bind.world");
  EXPECT_EQ(bind(sound, "members 0 0", "members 0 1"), "runtime.bind.group");
  EXPECT_EQ(bind(sound, "g mpi", "g nccl"), "runtime.bind.group");
  EXPECT_EQ(bind(sound, "device=0", "device=64"), "runtime.bind.space");
}

TEST(Executor, copies_on_their_own_stream_and_waits_for_them) {
  auto executor = make(R"(lamina-program 1
rank 0 of 1
arena host=8388608 shared=0 pinned=0 device=0
buffer 0 a input f32[600001] host 0+2400064
buffer 1 b output f32[600001] host 2400064+2400064
buffer 2 c output f32[600001] host 4800128+2400064
program 0 main
stream 0 compute
stream 1 copy
step 0 copy copy %0 -> %1
step 1 compute add %1 %0 -> %2 after=0
step 2 compute copy %2 -> %1
)");
  auto const a = executor.buffer("a", Role::input);
  for (int round = 1; round < 4; ++round) {
    for (int i = 0; i < a.spec.count(); ++i) a.as<float>()[i] = static_cast<float>(i % 1000 + round);
    executor.run("main");
    for (char const* const name : {"b", "c"}) {
      auto const got = executor.buffer(name, Role::output);
      std::int64_t wrong = 0;
      for (int i = 0; i < a.spec.count(); ++i)
        wrong += got.as<float>()[i] != 2.0f * static_cast<float>(i % 1000 + round);
      EXPECT_EQ(wrong, 0) << name;
    }
  }
}

TEST(Executor, runs_the_communication_of_a_group_of_one) {
  auto executor = make(R"(lamina-program 1
rank 0 of 1
members 0 0
arena host=1024 shared=0 pinned=0 device=0
group 0 g mpi
buffer 0 a input f32[4] host 0+64
buffer 1 b output f32[4] host 64+64
buffer 2 c output f32[4] host 128+64
program 0 main
stream 0 compute
stream 1 comm.g group=g
step 0 comm.g all_reduce %0 -> %0 .reduce="sum"
step 1 comm.g reduce_scatter %0 -> %1 .rows="0,4"
step 2 comm.g all_gather %1 -> %2
step 3 comm.g barrier ->
step 4 comm.g broadcast %2 -> %2 peer=0
step 5 compute add %2 %0 -> %2 after=4
)");
  fill(executor.buffer("a", Role::input), 5);
  executor.run("main");
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(executor.buffer("c", Role::output).as<float>()[i], 2.0f * static_cast<float>(5 + i));
  EXPECT_GE(executor.exposed_communication_seconds(), 0);
}

TEST(Executor, issues_communication_directly_behind_the_kernel_that_it_waits_for) {
  auto const set = program::parse(R"(lamina-program 1
rank 0 of 1
arena host=0 shared=0 pinned=0 device=0
program 0 main
stream 0 compute
stream 1 comm.a group=#0
stream 2 comm.b group=#1
step 0 compute add ->
step 1 comm.a barrier -> after=0
step 2 compute add -> after=1
step 3 comm.b barrier ->
step 4 comm.b barrier -> after=1
step 5 comm.a barrier ->
step 6 compute add ->
step 7 comm.b barrier ->
step 8 comm.a barrier -> after=6
)");
  EXPECT_EQ(runtime::detail::issue_order(set.shape->programs[0]), (std::vector{3, 0, 1, 4, 5, 7, 2, 6, 8}));
}

TEST(Executor, refuses_communication_that_it_does_not_have) {
  auto const streams = "stream 0 compute\nstream 1 comm.g group=g\n";
  auto const bind = [&](std::string const& step) {
    return test::error_of([&] { make(with_step(step, streams)); }).code;
  };
  EXPECT_EQ(bind("comm.g all_to_all %0 -> %1"), "runtime.bind.kind");
  EXPECT_EQ(bind("comm.g all_reduce %0 -> %0 .reduce=\"product\""), "runtime.bind.reduce");
  EXPECT_EQ(bind("comm.g all_gather %0 -> %1 .rows=\"0\""), "runtime.bind.rows");
  EXPECT_EQ(bind("comm.g send %0 -> peer=0"), "comm.send.peer");
}

}  // namespace
}  // namespace lamina
