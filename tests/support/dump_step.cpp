// Runs one step of a run file on one rank and writes what PyTorch can be compared with: logits of every position of the
// first sample, and the gradients of the first step, as safetensors. Usage: dump_step RUN.toml OUT_DIR
// [section.key=value ...]
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include "lamina/checkpoint/safetensors.hpp"
#include "lamina/kernels/runtime.hpp"
#include "lamina/train/session.hpp"
#include "train/detail/loop.hpp"

namespace {

using namespace lamina;

void dump_gradients(config::RunConfig const& config, int threads, std::string const& path) {
  train::Session session(config, comm::Communicator::self(),
                         {.purpose = plan::Purpose::train, .registered = {}, .generate = {}, .threads = threads});
  session.initialise();
  auto const sources = train::open_data(config);
  train::detail::Stepper stepper(session, *sources.train);
  auto const r = stepper.run(1, 0);
  std::printf("loss %.9g grad_norm %.9g\n", r.loss, r.grad_norm);
  std::vector<std::vector<float>> values;
  std::vector<checkpoint::NamedTensor> tensors;
  auto const& buffers = session.executor().set().shape->buffers;
  values.reserve(buffers.size());
  for (auto const& b : buffers) {
    if (b.role != Role::gradient) continue;
    auto const memory = session.executor().buffer(b.name, Role::gradient);
    values.emplace_back(memory.as<float>(), memory.as<float>() + memory.spec.count());
    for (auto& v : values.back()) v /= static_cast<float>(r.targets);  // of the mean, as PyTorch has it
    tensors.push_back({b.name, b.spec.shape, &values.back()});
  }
  checkpoint::write_safetensors(path, tensors);
}

void dump_logits(config::RunConfig const& config, int threads, std::string const& path) {
  auto const length = config.model.context;
  train::Session session(config, comm::Communicator::self(),
                         {.purpose = plan::Purpose::generate,
                          .registered = {},
                          .generate = {.batch = 1, .chunk = length},
                          .threads = threads});
  session.initialise();
  auto const sources = train::open_data(config);
  auto& executor = session.executor();
  std::vector<std::int32_t> targets(static_cast<std::size_t>(length));
  std::vector<void*> const places{executor.buffer("prefill.tokens", Role::input).data, targets.data()};
  sources.train->fill(0, places);
  *executor.buffer("position", Role::input).as<std::int32_t>() = 0;
  std::vector<float> all;
  for (std::int32_t t = 0; t < length; ++t) {
    *executor.buffer("last", Role::input).as<std::int32_t>() = t;
    executor.run("prefill");
    auto const logits = executor.buffer("prefill.logits", Role::output);
    all.insert(all.end(), logits.as<float>(), logits.as<float>() + logits.spec.count());
  }
  checkpoint::write_safetensors(path, {{"logits", Shape{length, config.model.vocab}, &all}});
}

}  // namespace

int main(int argument_count, char** arguments) try {
  if (argument_count < 3) {
    std::fprintf(stderr, "usage: dump_step RUN.toml OUT_DIR [section.key=value ...]\n");
    return 2;
  }
  auto config = config::load(arguments[1], {arguments + 3, arguments + argument_count});
  train::complete_model(config);
  config::resolve(config, 1);
  kernels::Runtime const runtime;
  std::filesystem::create_directories(arguments[2]);
  dump_gradients(config, kernels::threads(), std::string(arguments[2]) + "/gradients.safetensors");
  dump_logits(config, kernels::threads(), std::string(arguments[2]) + "/logits.safetensors");
  return 0;
} catch (Error const& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return static_cast<int>(e.exit_code());
}
