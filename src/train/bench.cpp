#include "lamina/train/bench.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "lamina/kernels/bench_gemm.hpp"
#include "lamina/kernels/bench_kernels.hpp"
#include "lamina/train/environment.hpp"
#include "lamina/train/trace.hpp"
#include "train/detail/loop.hpp"

namespace lamina::train {

namespace {

double median(std::vector<double> times) {
  std::ranges::sort(times);
  return times[times.size() / 2];
}

}  // namespace

CommBench bench_comm(Session& session, data::Source const& source, CommBenchOptions const& options) {
  auto& executor = session.executor();
  auto& world = session.world();
  detail::Stepper(session, source).run(1, 0);
  executor.buffer("hyper", Role::input).as<double>()[0] = 0;
  auto const run = [&](runtime::Trial const& trial) {
    executor.set_trial(trial);
    world.all_max(0);  // together
    auto const start = std::chrono::steady_clock::now();
    executor.run("forward_backward");
    executor.run("update");
    auto const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return static_cast<double>(world.all_max(std::llround(seconds * 1e6))) * 1e-6;
  };
  auto const link_speed = options.link_speed;
  runtime::Trial const trials[] = {
      {.link_speed = link_speed}, {.communication = false}, {.kernels = false, .link_speed = link_speed}};
  std::vector<double> whole, without, exposed, alone;
  for (int i = 0; i < options.rounds; ++i) {
    whole.push_back(run(trials[0]));
    without.push_back(run(trials[1]));
    exposed.push_back(whole.back() - without.back());
    alone.push_back(run(trials[2]));
  }
  for (int t = 0; t < 3 && !options.trace_dir.empty(); ++t) {
    executor.enable_trace(true);
    run(trials[t]);
    write_trace(executor, world, "", options.trace_dir, t + 1);
    executor.enable_trace(false);
  }
  executor.set_trial({});
  std::int64_t bytes = 0;
  auto const& set = executor.set();
  for (auto const* name : {"forward_backward", "update"}) {
    for (auto const& step : set.shape->find_program(name)->steps) {
      if (!program::is_communication(step.kind)) continue;
      auto const ranks = static_cast<int>(set.binding.members[static_cast<std::size_t>(step.group)].size());
      bytes += program::sent_bytes(step.kind, step.bytes, ranks) / (step.kind == program::StepKind::send ? 1 : ranks);
    }
  }
  return {.step_s = median(whole),
          .without_s = median(without),
          .exposed_s = median(exposed),
          .alone_s = median(alone),
          .link_speed = link_speed,
          .sent_bytes = world.all_sum(bytes)};
}

StepBench bench_step(Session& session, data::Source const& source, int steps, int warmup) {
  detail::Stepper stepper(session, source);
  auto& executor = session.executor();
  auto& world = session.world();
  StepBench b;
  std::int64_t step = 0, targets = 0;
  auto const run = [&] {
    auto const r = stepper.run(++step, 0);
    b.losses.push_back(r.loss);
    b.exposed_comm_s = r.exposed_s;
    targets = r.targets;
    // Microseconds, so that the slowest rank can be found with an integer maximum.
    return static_cast<double>(world.all_max(std::llround(r.step_s * 1e6))) * 1e-6;
  };
  for (int i = 0; i < warmup; ++i) run();
  for (int i = 0; i < steps; ++i) b.times.push_back(run());
  b.step_s = median(b.times);
  b.measured_peak_bytes = peak_resident_bytes();
  b.arena_growth_bytes = b.measured_peak_bytes - session.resident_before_arenas();
  b.planned_peak_bytes = plan::rank_bytes(session.plan(), static_cast<int>(world.rank()));

  bool const bf16 = session.config().precision.compute == "bf16";
  b.peak_gflops = kernels::measure_peak_gflops(bf16 ? DType::bf16 : DType::f32, 0.2);
  if (b.peak_gflops <= 0) b.peak_gflops = kernels::measure_peak_gflops(DType::f32, 0.2);
  b.stream_gbytes_per_s = kernels::measure_stream_gbytes_per_s(0.2);
  b.tokens_per_s = static_cast<double>(targets) / b.step_s;
  b.mfu = b.tokens_per_s * session.flops_per_token() / (b.peak_gflops * 1e9 * world.size());

  constexpr int profiled = 2;
  executor.enable_profile(true);
  executor.take_profile();
  double total = 0;
  for (int i = 0; i < profiled; ++i) total += run();
  for (auto const& row : executor.take_profile()) {
    auto const seconds = row.seconds / profiled;
    b.kernels.push_back({.op = row.op,
                         .calls = row.calls / profiled,
                         .seconds = seconds,
                         .share = row.seconds / total,
                         .gflops_per_s = static_cast<double>(row.flops) / row.seconds * 1e-9,
                         .gbytes_per_s = static_cast<double>(row.bytes) / row.seconds * 1e-9});
  }
  executor.enable_profile(false);
  std::ranges::sort(b.kernels, std::ranges::greater{}, &KernelRow::seconds);
  return b;
}

}  // namespace lamina::train
