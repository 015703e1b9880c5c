#include "lamina/plan/predict.hpp"

#include <algorithm>
#include <set>

#include "lamina/base/text.hpp"
#include "lamina/base/units.hpp"
#include "plan/detail/copies.hpp"
#include "plan/detail/timeline.hpp"

namespace lamina::plan {
namespace {

constexpr std::int64_t f32_flops_per_thread = 50, bf16_flops_per_thread = 100, bytes_per_thread = 10;

/// Of a value where nothing but the batch is split.
TensorSpec whole_replica(Plan const& plan, Part const& part, int value) {
  auto layout = part.layouts.values[static_cast<std::size_t>(value)];
  for (std::size_t a = 0; a < layout.axes.size(); ++a) {
    if (plan.mesh.axes[a] != "dp") layout.axes[a] = {};
  }
  auto const& v = part.graph.value(value);
  return {v.spec.dtype, local_shape(v, layout, plan.mesh)};
}

/// All micro-batches of all replicas one after the other, then the update, as one rank would do them.
std::int64_t naive_step(Plan const& plan, MachineModel const& machine) {
  auto const& part = plan.parts.front();
  std::int64_t pass = 0, update = 0;
  std::set<std::string> copies;
  for (auto const& node : part.graph.nodes()) {
    std::vector<TensorSpec> specs;
    for (int const v : node.in) specs.push_back(whole_replica(plan, part, v));
    auto const cost = node.op->cost(specs);
    bool const updates = node.phase == graph::Phase::update;
    (updates ? update : pass) += kernel_cost(cost.flops, cost.bytes, machine);
    for (int i = 0; i < static_cast<int>(node.in.size()) && !updates; ++i) {
      auto const copy = working_copy(plan, part, node, i);
      if (!copy || !copies.insert(copy->name).second) continue;
      auto const& master = part.graph.value(node.in[static_cast<std::size_t>(i)]);
      auto const parts = master.spec.count() / std::max<std::int64_t>(1, plan.local_spec(part, master.id).count());
      update += kernel_cost(0, master.spec.bytes() + parts * copy->spec.bytes(), machine);
    }
  }
  auto const& batch = plan.config.batch;
  return (batch.global + batch.micro - 1) / batch.micro * pass + update;
}

}  // namespace

MachineModel assumed_machine(Plan const& plan) {
  bool const bf16 = plan.config.precision.compute == "bf16";
  MachineModel machine;
  machine.flops_per_ns = plan.machine.threads * (bf16 ? bf16_flops_per_thread : f32_flops_per_thread);
  machine.bytes_per_ns = plan.machine.threads * bytes_per_thread;
  return machine;
}

std::string to_text(MachineModel const& machine) {
  auto const time = [](std::int64_t ns) { return human_seconds(static_cast<double>(ns) * 1e-9); };
  return text(machine.flops_per_ns, " GFLOP/s and ", machine.bytes_per_ns, " GB/s of memory a rank, ",
              time(machine.kernel_ns), " a kernel; links of ", machine.link_bytes_per_ns, " GB/s, ",
              time(machine.message_ns), " a message");
}

Prediction predict(Plan const& plan, MachineModel const& machine) {
  Prediction p;
  if (plan.purpose != Purpose::train) return p;
  double collectives = 0, stages = 0;
  for (auto const* program : {"forward_backward", "control", "update"}) {
    auto const t = play(plan, program, machine);
    p.step_ns += t.end;
    for (auto const& w : t.waits) collectives += static_cast<double>(w.collectives);
    if (std::string_view(program) != "forward_backward") continue;
    p.passes_ns = t.end;
    for (auto const& w : t.waits) stages += static_cast<double>(w.stages);
  }
  auto const coordinates = static_cast<double>(plan.mesh.size("pp"));
  if (p.passes_ns > 0) p.bubble = stages / (coordinates * static_cast<double>(p.passes_ns));
  if (p.step_ns > 0) p.exposed = collectives / (coordinates * static_cast<double>(p.step_ns));
  p.naive_ns = plan.mesh.world() == 1 ? p.step_ns : naive_step(plan, machine);
  return p;
}

}  // namespace lamina::plan
