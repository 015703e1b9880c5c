#include <algorithm>
#include <utility>

#include "detail/bound_program.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::runtime::detail {

using program::StepKind;

TensorRef Memory::ref(int buffer) const {
  auto const& b = set.shape->buffers[buffer];
  auto* const base = static_cast<char*>(arenas[static_cast<int>(b.space)]);
  return {base ? base + b.offset : nullptr, b.spec};
}

device::Stream* Streams::of(program::Stream const& stream) const {
  if (stream.group >= 0) return groups[stream.group];
  return stream.name == "copy" ? copy : compute;
}

void TimedTask::start() {
  started_ = Clock::now();
  begun_ = !first_ || least_ == Clock::duration::zero();
  over_ = false;
  if (begun_) task_->start();
}

bool TimedTask::advance() {
  if (!begun_) {
    if (is_early()) return false;
    begun_ = true;
    task_->start();
  }
  if (!over_ && !task_->advance()) return false;
  over_ = true;
  if (is_early()) return false;
  ended_ = Clock::now();
  auto const took = ended_ - started_;
  ns_.fetch_add(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count(), std::memory_order_relaxed);
  return true;
}

std::string describe(program::ProgramSet const& set, program::Program const& program, int step) {
  auto const& s = program.steps[step];
  auto out = text("program ", program.name, ", step ", step, ' ', s.op.empty() ? name_of(s.kind) : s.op);
  if (!s.layer.empty()) out += text(' ', s.layer);
  if (s.micro_batch >= 0) out += text(", micro-batch ", s.micro_batch);
  return out + text(", rank ", set.binding.rank);
}

namespace {

/// Copies on the compute stream run there and then.
struct CopyArgs {
  std::shared_ptr<device::Task> task;
};

Kernel inline_copy(std::vector<std::unique_ptr<device::Task>> tasks) {
  auto const held = std::make_shared<std::vector<std::unique_ptr<device::Task>>>(std::move(tasks));
  return {[](device::Stream&, void const* args) {
            for (auto const& task : *static_cast<std::vector<std::unique_ptr<device::Task>> const*>(args)) {
              task->start();
              while (!task->advance()) continue;
            }
          },
          held};
}

}  // namespace

std::vector<int> issue_order(program::Program const& program) {
  auto const n = program.steps.size();
  // Place 0 is before all steps of the compute stream, place i + 1 directly behind step i.
  std::vector<std::size_t> place(n), last(program.streams.size());
  std::vector<std::vector<int>> behind(n + 1);
  for (std::size_t i = 0; i < n; ++i) {
    auto const& step = program.steps[i];
    auto const stream = static_cast<std::size_t>(step.stream);
    place[i] = last[stream];
    for (int const other : step.after) place[i] = std::max(place[i], place[static_cast<std::size_t>(other)]);
    if (stream == 0) {
      place[i] = i + 1;
    } else {
      behind[place[i]].push_back(static_cast<int>(i));
    }
    last[stream] = place[i];
  }
  auto order = std::move(behind[0]);
  for (std::size_t i = 0; i < n; ++i) {
    if (program.steps[i].stream == 0) order.push_back(static_cast<int>(i));
    order.insert(order.end(), behind[i + 1].begin(), behind[i + 1].end());
  }
  return order;
}

BoundProgram bind_program(program::Program const& program, Memory const& memory, Streams const& streams,
                          std::vector<comm::Communicator> const& groups, bool reference_kernels) {
  BoundProgram bound;
  bound.program = &program;
  bound.actions.resize(program.steps.size());
  bound.tokens.resize(program.steps.size());
  bound.order = issue_order(program);
  for (std::size_t id = 0; id < program.steps.size(); ++id) {
    auto const& step = program.steps[id];
    auto& action = bound.actions[id];
    auto const where = describe(memory.set, program, static_cast<int>(id));
    auto* const stream = streams.of(program.streams[step.stream]);
    auto const off_compute = [&](int other) { return streams.of(program.streams[program.steps[other].stream]); };
    if (step.kind == StepKind::kernel) {
      std::vector<TensorRef> in, out;
      for (int const b : step.in) in.push_back(memory.ref(b));
      for (int const b : step.out) out.push_back(memory.ref(b));
      bool const has_scratch = !step.out.empty() && memory.set.shape->buffers[step.out.back()].role == Role::scratch;
      Operands operands(memory.set, step, std::move(in), std::move(out), has_scratch, reference_kernels, where);
      action.kernel = bind_kernel(step.op, operands);
    } else {
      auto tasks = make_tasks(step, memory, step.group >= 0 ? &groups[step.group] : nullptr, where);
      if (stream == streams.compute) {
        action.kernel = inline_copy(std::move(tasks));
      } else {
        action.stream = stream;
        bound.tokens[id].stream = stream;
        for (auto& task : tasks) action.tasks.push_back(std::make_unique<TimedTask>(std::move(task)));
        if (std::find(bound.streams.begin(), bound.streams.end(), stream) == bound.streams.end()) {
          bound.streams.push_back(stream);
        }
      }
    }
    for (int const other : step.after) {
      // Steps of the compute stream have run when this one is issued.
      if (off_compute(other) == streams.compute || off_compute(other) == stream) continue;
      if (action.stream) {
        action.waits.push_back(std::make_unique<WaitTask>(bound.tokens[other]));
      } else {
        action.after.push_back(other);
      }
    }
  }
  return bound;
}

}  // namespace lamina::runtime::detail
