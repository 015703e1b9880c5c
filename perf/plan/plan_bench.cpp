// A plan of 1,024 ranks: dp 16, tp 8, pp 8; 96 layers, 64 micro-batches.
//   perf.plan.make [SCHEDULE=1f1b] [ZERO=0] [CHUNKS=1] [DP=16] [TP=8] [PP=8] [LAYERS=96] [MICRO_BATCHES=64]
// One JSON line: processor seconds to build the graphs and to make the plan (which verifies it), seconds of the
// verification alone, done once more, and the largest resident size.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "support/plan_cases.hpp"

namespace {

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

template <class F>
double seconds_of(F const& f) {
  auto const start = std::clock();  // of the processor: others may share the core
  f();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace lamina;
  auto const setting = [&](int i, std::int64_t otherwise) { return argc > i ? std::atoll(argv[i]) : otherwise; };
  auto const dp = setting(4, 16), micro_batches = setting(8, 64);
  test::PlanCase const c{.world = dp * setting(5, 8) * setting(6, 8),
                         .micro = 1,
                         .global = dp * micro_batches,
                         .layers = setting(7, 96),
                         .hidden = 1024,
                         .heads = 16,
                         .tokens = 1024,
                         .vocab = 50257,
                         .threads = 1,
                         .tp = setting(5, 8),
                         .pp = setting(6, 8),
                         .zero = setting(2, 0),
                         .chunks = setting(3, 1),
                         .schedule = argc > 1 ? argv[1] : "1f1b"};
  plan::Graphs graphs;
  std::shared_ptr<plan::Plan const> plan;
  std::vector<program::Problem> problems;
  auto const config = test::plan_config(c);
  auto const graph_time = seconds_of([&] { graphs = test::plan_graphs(c, plan::Purpose::train); });
  auto const time =
      seconds_of([&] { plan = plan::make(graphs, config, c.world, test::plan_machine(c), plan::Purpose::train); });
  auto const peak = peak_mib();
  auto const sets = plan::lower_all(*plan);
  auto const verify_time = seconds_of([&] { problems = program::verify(sets); });
  std::printf(
      "{\"bench\": \"plan.make\", \"schedule\": \"%s\", \"zero\": %lld, \"ranks\": %lld, \"steps\": %zu, "
      "\"graphs_seconds\": %.3f, \"seconds\": %.3f, \"verify_seconds\": %.3f, \"peak_mib\": %.0f, \"problems\": %zu}\n",
      c.schedule.c_str(), static_cast<long long>(c.zero), static_cast<long long>(c.world),
      sets[0].shape->programs[0].steps.size(), graph_time, time, verify_time, peak, problems.size());
  return problems.empty() ? 0 : 1;
}
