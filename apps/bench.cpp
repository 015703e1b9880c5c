#include "lamina/train/bench.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "detail/command.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/kernels/bench_gemm.hpp"
#include "lamina/kernels/bench_kernels.hpp"

namespace lamina::apps {
namespace {

using nlohmann::ordered_json;

struct Options {
  RunFile file;
  std::string ranks, link, trace_dir;
  int steps = 5, warmup = 1;
  bool json = false;
};

ExitCode bench_products(Options const& o, Parallel& p) {
  auto const rows = kernels::bench_gemm({});
  if (p.world.rank() != 0) return ExitCode::ok;
  auto document = ordered_json::array();
  if (!o.json) std::printf("%-12s %6s %6s %6s %6s %9s %7s\n", "use", "dtype", "M", "N", "K", "GF/s", "of peak");
  for (auto const& r : rows) {
    document.push_back({{"use", r.use},
                        {"dtype", std::string(name_of(r.dtype))},
                        {"m", r.m},
                        {"n", r.n},
                        {"k", r.k},
                        {"gflops_per_s", r.gflops_per_s},
                        {"peak_gflops_per_s", r.peak}});
    if (o.json) continue;
    std::printf("%-12s %6s %6lld %6lld %6lld %9.1f %7s\n", r.use.c_str(), std::string(name_of(r.dtype)).c_str(),
                static_cast<long long>(r.m), static_cast<long long>(r.n), static_cast<long long>(r.k), r.gflops_per_s,
                r.peak > 0 ? text(static_cast<int>(100 * r.gflops_per_s / r.peak), " %").c_str() : "");
  }
  if (o.json) std::printf("%s\n", document.dump(2).c_str());
  return ExitCode::ok;
}

void print_step(train::StepBench const& b) {
  std::printf("step %.1f ms (median of %zu), %.0f tokens/s, MFU %.3f of %.0f GF/s, exposed communication %.1f ms\n",
              b.step_s * 1e3, b.times.size(), b.tokens_per_s, b.mfu, b.peak_gflops, b.exposed_comm_s * 1e3);
  std::printf("memory: planned %lld bytes, measured %lld since the arenas were made (%+.2f %%), resident at most %s\n",
              static_cast<long long>(b.planned_peak_bytes), static_cast<long long>(b.arena_growth_bytes),
              100.0 * static_cast<double>(b.arena_growth_bytes - b.planned_peak_bytes) /
                  static_cast<double>(b.planned_peak_bytes),
              human_bytes(b.measured_peak_bytes).c_str());
  std::printf("limits measured in this run: %.0f GF/s multiply-add, %.1f GB/s streaming\n\n", b.peak_gflops,
              b.stream_gbytes_per_s);
  std::printf("%-20s %6s %10s %7s %9s %9s\n", "kernel", "calls", "ms/step", "share", "GF/s", "GB/s");
  for (auto const& k : b.kernels) {
    std::printf("%-20s %6lld %10.2f %6.1f%% %9.1f %9.1f\n", k.op.c_str(), static_cast<long long>(k.calls),
                k.seconds * 1e3, k.share * 100, k.gflops_per_s, k.gbytes_per_s);
  }
}

/// A run file, planned and with its parameters.
train::Session open_session(Program const& program, Options const& o, Parallel& p) {
  train::Session session(
      load_everywhere(program, o.file, p.world), p.world,
      {.purpose = plan::Purpose::train, .registered = program.registered, .generate = {}, .threads = p.threads.count});
  session.initialise();
  return session;
}

ExitCode bench_communication(Program const& program, Options const& o, Parallel& p) {
  auto const link = o.link.empty() ? 0.0 : static_cast<double>(parse_bytes(o.link));
  auto session = open_session(program, o, p);
  auto const sources = train::open_data(session.config());
  auto const b =
      train::bench_comm(session, *sources.train, {.rounds = o.steps, .link_speed = link, .trace_dir = o.trace_dir});
  if (p.world.rank() != 0) return ExitCode::ok;
  if (b.sent_bytes == 0 && !o.json) {
    std::printf("step %.1f ms; nothing is communicated in it: start more ranks, such as --ranks 2\n", b.step_s * 1e3);
    return ExitCode::ok;
  }
  if (o.json) {
    ordered_json const result{{"step_s", b.step_s},
                              {"without_communication_s", b.without_s},
                              {"communication_s", b.alone_s},
                              {"exposed_s", b.exposed_s},
                              {"hidden", b.hidden()},
                              {"sent_bytes", b.sent_bytes},
                              {"link_bytes_per_s", b.link_speed}};
    std::printf("%s\n", result.dump(2).c_str());
    return ExitCode::ok;
  }
  std::printf(
      "step %.1f ms, without communication %.1f ms; communication alone %.1f ms, of which %.1f ms show: %.0f %% "
      "hidden\n",
      b.step_s * 1e3, b.without_s * 1e3, b.alone_s * 1e3, b.exposed_s * 1e3, 100 * b.hidden());
  std::printf("all ranks send %s a step; links %s\n", human_bytes(b.sent_bytes).c_str(),
              link > 0 ? text("held to ", human_bytes(static_cast<std::int64_t>(link)), "/s a rank and group").c_str()
                       : "as fast as they are (--link 1GB holds them to 1 GB/s)");
  return ExitCode::ok;
}

ExitCode bench_steps(Program const& program, Options const& o, Parallel& p) {
  auto session = open_session(program, o, p);
  auto const sources = train::open_data(session.config());
  auto const b = train::bench_step(session, *sources.train, o.steps, o.warmup);
  if (p.world.rank() != 0) return ExitCode::ok;
  if (!o.json) {
    print_step(b);
    return ExitCode::ok;
  }
  auto kernels = ordered_json::array();
  for (auto const& k : b.kernels) {
    kernels.push_back({{"op", k.op},
                       {"calls", k.calls},
                       {"seconds", k.seconds},
                       {"share", k.share},
                       {"gflops_per_s", k.gflops_per_s},
                       {"gbytes_per_s", k.gbytes_per_s}});
  }
  ordered_json const result{{"system", "lamina"},
                            {"step_s", b.step_s},
                            {"times", b.times},
                            {"losses", b.losses},
                            {"tokens_per_s", b.tokens_per_s},
                            {"mfu", b.mfu},
                            {"peak_gflops", b.peak_gflops},
                            {"stream_gbytes_per_s", b.stream_gbytes_per_s},
                            {"exposed_comm_s", b.exposed_comm_s},
                            {"planned_peak_bytes", b.planned_peak_bytes},
                            {"measured_peak_bytes", b.measured_peak_bytes},
                            {"arena_growth_bytes", b.arena_growth_bytes},
                            {"kernels", kernels}};
  std::printf("%s\n", result.dump(2).c_str());
  return ExitCode::ok;
}

/// Streaming and multiply-add limits and the simple kernels against them.
ExitCode bench_limits(Options const& o, Parallel& p) {
  auto const rows = kernels::bench_kernels(0.1);
  if (p.world.rank() != 0) return ExitCode::ok;
  auto document = ordered_json::array();
  if (!o.json) std::printf("%-18s %-26s %6s %9s %9s %8s\n", "kernel", "size", "dtype", "GF/s", "GB/s", "of limit");
  for (auto const& r : rows) {
    document.push_back({{"kernel", r.kernel},
                        {"size", r.size},
                        {"dtype", std::string(name_of(r.dtype))},
                        {"gflops_per_s", r.gflops_per_s},
                        {"gbytes_per_s", r.gbytes_per_s},
                        {"of_limit", r.of_limit}});
    if (o.json) continue;
    std::printf("%-18s %-26s %6s %9.1f %9.1f %7.0f%%\n", r.kernel.c_str(), r.size.c_str(),
                std::string(name_of(r.dtype)).c_str(), r.gflops_per_s, r.gbytes_per_s, 100 * r.of_limit);
  }
  if (o.json) std::printf("%s\n", document.dump(2).c_str());
  return ExitCode::ok;
}

}  // namespace

/// lamina bench gemm|kernels|comm|step: what this machine does, beside what it could do.
void add_bench(Command const& app, Program& program) {
  auto const command = app.add_subcommand("bench", "Measure kernels and training steps beside the machine's limits");
  command.require_subcommand();
  auto const simple = [&](char const* name, char const* help,
                          std::function<ExitCode(Options const&, Parallel&)> action) {
    auto o = std::make_shared<Options>();
    auto const sub = command.add_subcommand(name, help);
    sub.add_flag("--json", o->json, "Print one JSON document");
    sub.footer(text("Example:  lamina bench ", name, " --json"));
    sub.callback([o, action, &program] {
      program.action = [o, action, &program] {
        return run_parallel(program, {}, [&](Parallel& p) { return action(*o, p); });
      };
    });
  };
  simple("gemm", "Matrix products of GPT-2 124M, in the three passes", bench_products);
  simple("kernels", "The other kernels, against streaming bandwidth or multiply-add peak", bench_limits);
  auto const of_run_file = [&](char const* name, char const* help, char const* steps, char const* example,
                               std::function<ExitCode(Program const&, Options const&, Parallel&)> action) {
    auto o = std::make_shared<Options>();
    auto const sub = command.add_subcommand(name, help);
    o->file.add_to(sub);
    sub.add_option("--steps", o->steps, steps).check(in_range(1, 10000)).capture_default_str();
    sub.add_option("--ranks", o->ranks, "Start this many ranks under mpirun, or 'auto'");
    sub.add_flag("--json", o->json, "Print one JSON document");
    sub.footer(text("Example:  lamina bench ", name, ' ', example));
    sub.callback([o, action, &program] {
      program.action = [o, action, &program] {
        return run_parallel(program, peek_start(program, o->file, o->ranks),
                            [&](Parallel& p) { return action(program, *o, p); });
      };
    });
    return std::pair(sub, o);
  };
  auto const [step, of_step] = of_run_file("step", "A whole training step of a run file, and where its time goes",
                                           "Timed steps", "run.toml --set precision.compute=\"bf16\"", bench_steps);
  step.add_option("--warmup", of_step->warmup, "Steps before").check(in_range(0, 10000)).capture_default_str();
  auto const [comm, of_comm] = of_run_file("comm", "What communication costs inside a training step of a run file",
                                           "Rounds: a step, one without communication, communication alone",
                                           "run.toml --ranks 2 --link 1GB", bench_communication);
  comm.add_option("--link", of_comm->link,
                  "Hold what a rank sends in a group to this many bytes per second, such as 1GB");
  comm.add_option("--trace", of_comm->trace_dir,
                  "Write Chrome traces of a step (1), one without communication (2), communication alone (3) to "
                  "this directory, under trace/");
  auto const io = command.add_subcommand("io", "Not available yet");
  io.allow_extras();
  io.callback([&program] {
    program.action = []() -> ExitCode {
      fail({.code = "app.bench.later",
            .subject = "lamina bench io",
            .found = "a benchmark that is not available yet",
            .expected = "gemm, kernels, comm or step",
            .fix = "measure checkpoints in a short `lamina train`"});
    };
  });
}

}  // namespace lamina::apps
