// The verifier on a world of pipeline stages (1F1B, tensor-parallel sums in every action).
//   perf.program.verify [PP=64] [DP=4] [TP=4] [MICRO_BATCHES=64] [LAYERS=64] [gpipe]
// The usual one: 1,024 ranks of 64 distinct templates of some 30,000 steps. One JSON line: seconds of one `verify` on
// one core and the largest resident size with and before it.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string_view>

#include "support/program_stages.hpp"

namespace {

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

int main(int argc, char** argv) {
  auto const setting = [&](int i, int otherwise) { return argc > i ? std::atoi(argv[i]) : otherwise; };
  lamina::test::Mesh const mesh{setting(1, 64), setting(2, 4), setting(3, 4)};
  bool const gpipe = argc > 6 && std::string_view(argv[6]) == "gpipe";
  auto const sets = lamina::test::make_stages(mesh, setting(4, 64), setting(5, 64), -1, gpipe);
  std::set<void const*> templates;
  std::size_t steps = 0;
  for (auto const& set : sets) {
    if (templates.insert(set.shape.get()).second) steps += set.shape->programs[0].steps.size();
  }
  auto const before = peak_mib();
  auto const start = std::chrono::steady_clock::now();
  auto const problems = lamina::program::verify(sets);
  std::chrono::duration<double> const took = std::chrono::steady_clock::now() - start;
  std::printf(
      "{\"bench\": \"program.verify\", \"ranks\": %d, \"templates\": %zu, \"steps\": %zu, \"problems\": %zu, "
      "\"seconds\": %.3f, \"peak_mib\": %.0f, \"programs_mib\": %.0f}\n",
      mesh.world(), templates.size(), steps, problems.size(), took.count(), peak_mib(), before);
  if (!problems.empty()) std::printf("%s\n", problems[0].message.c_str());
  return problems.empty() ? 0 : 1;
}
