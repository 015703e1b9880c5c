#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "detail/command.hpp"
#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "lamina/base/version.hpp"
#include "lamina/kernels/bench_gemm.hpp"
#include "lamina/kernels/runtime.hpp"

namespace lamina::apps {
namespace {

struct Check {
  std::string name, value;
  std::string advice;  ///< "" when all is well
};

std::vector<Check> examine() {
  std::vector<Check> checks;
  auto const& build = build_information();
  checks.push_back({"version", text(build.version, " ", build.git), ""});
  checks.push_back({"build", text(build.compiler, ", ", build.options), ""});
  try {
    train::require_instruction_set();
    checks.push_back({"instruction set", "the CPU has what the kernels were built for", ""});
  } catch (Error const& e) {
    checks.push_back({"instruction set", e.info().found, e.info().fix});
    return checks;  // kernels would crash
  }
  for (auto const& library : train::libraries()) checks.push_back({library.name, library.version, ""});
  auto const t = train::find_threads(0);
  checks.push_back(
      {"cores", text(t.cores, " of ", t.online, " in this process's binding mask"),
       t.cores < t.online ? "fine under mpirun or srun, which bind ranks; alone, start without taskset" : ""});
  auto const memory = train::usable_memory_bytes();
  checks.push_back({"memory", text(human_bytes(memory), " for this process"),
                    memory < (std::int64_t{1} << 30) ? "less than 1 GiB: small models only" : ""});
  std::error_code error;
  auto const shm = std::filesystem::space("/dev/shm", error);
  checks.push_back(
      {"/dev/shm",
       error ? std::string("missing") : text(human_bytes(static_cast<std::int64_t>(shm.available)), " free"),
       error || shm.available < (std::uintmax_t{64} << 20) ? "Open MPI wants some: start the container with --shm-size"
                                                           : ""});
  auto const here = std::filesystem::space(".", error);
  checks.push_back({"disk",
                    text(human_bytes(static_cast<std::int64_t>(here.available)), " free in ",
                         std::filesystem::current_path().string()),
                    here.available < (std::uintmax_t{1} << 30) ? "a checkpoint takes 12 bytes a parameter" : ""});
  auto const* tasks = std::getenv("SLURM_NTASKS");
  checks.push_back({"launcher",
                    std::getenv("OMPI_COMM_WORLD_SIZE") ? "mpirun"
                    : tasks                             ? text("Slurm, ", tasks, " tasks")
                                                        : "none (one rank)",
                    ""});
  checks.push_back({"GPU", "not available yet: all layers run on the CPU", ""});
  {
    kernels::Runtime const runtime(t.count);
    char line[96];
    std::snprintf(line, sizeof line, "%.0f GF/s f32, %.0f GF/s bf16 on %d threads",
                  kernels::measure_peak_gflops(DType::f32, 0.1), kernels::measure_peak_gflops(DType::bf16, 0.1),
                  t.count);
    checks.push_back({"multiply-add peak", line, ""});
  }
  return checks;
}

}  // namespace

/// lamina doctor: what this machine offers, and what would go wrong.
void add_doctor(Command const& app, Program& program) {
  auto json = std::make_shared<bool>(false);
  auto const command = app.add_subcommand("doctor", "Examine this machine and say what would go wrong");
  command.add_flag("--json", *json, "Print one JSON document");
  command.footer("Example:  lamina doctor");
  command.callback([json, &program] {
    program.action = [json] {
      auto const checks = examine();
      bool broken = false;
      auto document = nlohmann::ordered_json::array();
      for (auto const& c : checks) {
        broken = broken || (c.name == "instruction set" && !c.advice.empty());
        document.push_back({{"check", c.name}, {"value", c.value}, {"advice", c.advice}});
        if (!*json)
          std::printf("%-18s %s%s%s\n", c.name.c_str(), c.value.c_str(),
                      c.advice.empty() ? "" : "\n                   advice: ", c.advice.c_str());
      }
      if (*json) std::printf("%s\n", document.dump(2).c_str());
      return broken ? ExitCode::environment : ExitCode::ok;
    };
  });
}

}  // namespace lamina::apps
